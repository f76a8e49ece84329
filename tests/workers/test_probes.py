"""The port of a worker or scheduler: who is ready is who makes progress."""

from __future__ import annotations

import time
from http import HTTPStatus

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from scheduler.embedded.child import free_port, is_port_free
from workers import probes
from workers.pulse import Part, Pulse


def part(name: str, *, ago: float | None, now: float = 1000.0, trouble: str = "") -> Part:
    return Part(name=name, progress_at=None if ago is None else now - ago, trouble=trouble)


def test_ready_is_who_makes_progress_in_every_part():
    status, body = probes.readiness({7: [part("loop", ago=0.24), part("taker", ago=3)]}, 1000.0)

    assert status == HTTPStatus.OK
    assert body == {
        "status": "ready",
        "parts": [
            {"process": 7, "part": "loop", "progress_seconds_ago": 0.2, "wrong": None},
            {"process": 7, "part": "taker", "progress_seconds_ago": 3, "wrong": None},
        ],
    }


def test_one_part_without_progress_is_enough_and_the_answer_says_which_and_why():
    processes = {7: [part("loop", ago=0.1)], 8: [part("loop", ago=0.1), part("taker", ago=9, trouble="PostgreSQL: X")]}

    status, body = probes.readiness(processes, 1000.0)

    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert body["detail"] == "taker of process 8: PostgreSQL: X; no progress for 9 s"
    assert (body["status"], body["code"], body["title"]) == (503, "not_ready", "Service Unavailable")
    assert [row["wrong"] for row in body["parts"]] == [None, None, "PostgreSQL: X; no progress for 9 s"]


@pytest.mark.parametrize("processes", [{}, {7: [part("loop", ago=0)], 8: None}], ids=["none", "one of two"])
def test_processes_that_have_told_nothing_yet_are_not_ready(processes):
    assert probes.readiness(processes, 1000.0)[0] == HTTPStatus.SERVICE_UNAVAILABLE


@pytest.fixture
def ask():
    with httpx.Client(trust_env=False) as client:
        yield client.get


@pytest.mark.django_db(transaction=True)
def test_everything_is_served_until_stopped(ask):
    port, pulse = free_port(), Pulse(loop=1.0)
    url = f"http://127.0.0.1:{port}"

    with probes.serving(port, pulse):
        live, not_ready = ask(f"{url}/health/live"), ask(f"{url}/health/ready")
        pulse.progress("loop")
        ready, metrics, nothing = ask(f"{url}/health/ready"), ask(f"{url}/metrics"), ask(f"{url}/health")

    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert (not_ready.status_code, not_ready.headers["Content-Type"]) == (503, "application/problem+json")
    assert (ready.status_code, ready.headers["Content-Type"]) == (200, "application/json")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    assert "jobs_in_dlq 0.0" in metrics.text
    assert "jobs_processed_total" in metrics.text
    assert is_port_free(port)


def test_without_a_port_nothing_is_served():
    with probes.serving(None, Pulse()):
        pass


@pytest.mark.django_db(transaction=True)
def test_the_one_furthest_behind_tells_when_progress_was_last_made(ask):
    port, registry, now = free_port(), CollectorRegistry(), time.monotonic()
    Counter("letters_total", "Letters.", registry=registry).inc(3)
    processes = {
        7: [part("loop", ago=1, now=now), part("taker", ago=None)],
        8: [part("loop", ago=500, now=now)],
        9: None,
    }

    stop = probes.serve(port, processes=lambda: processes, registry=registry)
    told = ask(f"http://127.0.0.1:{port}/metrics").text
    stop()

    (line,) = [line for line in told.splitlines() if line.startswith("last_progress_timestamp_seconds{")]
    name, _, value = line.partition(" ")
    assert name == 'last_progress_timestamp_seconds{part="loop"}'
    assert 499 < time.time() - float(value) < 560
    assert "letters_total 3.0" in told
