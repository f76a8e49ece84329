"""The types of `make run`, as its page and its users write them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scheduler.embedded.child import Child, free_port, is_port_open
from tests.journeys.platform import ROOT, Platform

pytestmark = pytest.mark.slow


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[int]]:
    """A and B."""
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "scheduler.embedded.demo.services", "--ports", *map(str, ports)]
    child = Child("demo", command, log=tmp_path / "demo.log", env={}, cwd=ROOT, rank=1)
    child.start()
    try:
        child.wait_until(lambda: all(map(is_port_open, ports)), within=20.0)
        yield ports
    finally:
        child.stop()


class Demo:
    """A client that has signed up."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        _, self._client = platform.start_api()
        answer = self._client.post("/signup", json={"username": "demo", "password": "correct horse battery"})
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def post(self, path: str, body: str, **headers: str) -> httpx.Response:
        return self._client.post(path, content=body, headers=headers)

    def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """The job as `GET /jobs/{id}` shows it, once it has ended."""
        path = f"/jobs/{answer.json()['id']}"
        final = {"completed", "failed", "unknown"}
        self._platform.until(lambda: self._client.get(path).json()["status"] in final)
        found: dict[str, Any] = self._client.get(path).json()
        return found


@pytest.fixture
def demo(platform: Platform, services: list[int]) -> Demo:
    platform.env |= {
        "JOB_APPS": "scheduler.embedded.demo",
        "DEMO_SERVICES": ",".join(f"http://127.0.0.1:{port}" for port in services),
        "SIGNUP_OPEN": "true",
        "WORKER_HANDS": "2",
    }
    platform.start_worker()
    platform.start_scheduler()
    return Demo(platform)


def test_the_lines_work_as_they_are_written(demo: Demo):
    ekyc = demo.post(
        "/jobs", '{"type":"ekyc-verification","payload":{"user_id":456}}', **{"X-Correlation-ID": "job-123"}
    )
    nested = demo.post("/jobs", '{"payload":{"type":"demo","value":123}}')
    named = demo.post("/submit_job", '{"name":"cpu_intensive","payload":"test task"}')

    assert (ekyc.status_code, nested.status_code, named.status_code) == (202, 202, 201)
    assert ekyc.headers["X-Correlation-ID"] == "job-123"
    verified = demo.ended(ekyc)
    assert (verified["status"], verified["correlation_id"]) == ("completed", "job-123")
    assert verified["result"] == {
        "user_id": 456,
        "verified": True,
        "identity": {"service": "A", "matches": True, "document": "passport", "user_id": 456},
        "sanctions": {"service": "B", "hits": 0, "user_id": 456},
    }
    assert demo.ended(nested)["result"]["value"] == 123
    assert (demo.ended(named)["result"]["task"], demo.ended(named)["result"]["rounds"]) == ("test task", 100_000)


def test_the_others_do_what_their_names_say(demo: Demo):
    io = demo.post("/submit_job", '{"name":"io_intensive","payload":"a file"}')
    network = demo.post("/jobs", '{"type":"network_task","payload":{"amount":3}}')

    assert demo.ended(io)["result"] == {"task": "a file", "bytes": 10 * 1024}
    assert demo.ended(network)["result"] == {"task": "", "requests": 3}


@pytest.mark.parametrize(
    ("body", "kind", "attempts"),
    [
        ('{"type":"failing","payload":"permanent"}', "demo", 1),
        ('{"type":"failing","payload":"transient"}', "demo", 3),
        ('{"type":"failing","payload":"error"}', "handler_failed", 3),
        ('{"type":"ekyc-verification","payload":{"user_id":404}}', "downstream", 1),
        ('{"type":"ekyc-verification","payload":{"user_id":503},"max_attempts":2}', "downstream", 2),
    ],
)
def test_what_fails_is_a_dead_letter_after_its_attempts(demo: Demo, body: str, kind: str, attempts: int):
    job = demo.ended(demo.post("/jobs", body))

    assert (job["status"], job["last_error"]["kind"], job["attempts"]) == ("failed", kind, attempts)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"type":"ekyc-verification","payload":{"user_id":"456"}}', "payload.user_id"),
        ('{"type":"ekyc-verification","payload":"456"}', "payload"),
        ('{"type":"failing","payload":"sometimes"}', "payload.how"),
        ('{"type":"cpu_intensive","payload":{"amount":1000000}}', "payload.amount"),
    ],
)
def test_what_does_not_fit_is_named(platform: Platform, body: str, field: str):
    platform.env |= {"JOB_APPS": "scheduler.embedded.demo", "SIGNUP_OPEN": "true"}
    answer = Demo(platform).post("/jobs", body)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
