"""A node of several processes tells one truth, and outlives neither its parts nor its parent."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from jobs.models import Worker
from scheduler.embedded.child import free_port
from scheduler.embedded.guardian import is_running
from tests.journeys.platform import metric

pytestmark = pytest.mark.slow


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def node(platform, port):
    platform.shorten_lease()  # a killed process counts as active until its lease is over
    node = platform.start_worker("--processes", "2", "--concurrency", "4", "--metrics-port", str(port))
    platform.until(lambda: len(platform.worker_pids()) == 2)
    return node


def scrape(port) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text


def test_counters_are_right_over_both_processes_even_when_one_was_killed(platform, smtp, node, port):
    platform.start_scheduler()
    smtp.rcpt_answers["gone@example.com"] = "550 5.1.1 No such user"
    platform.accept_many(60)
    platform.accept("gone@example.com")
    platform.until(lambda: len(smtp.accepted) == 60)
    platform.until(lambda: metric(scrape(port), "jobs_processed_total") == 61)

    before = platform.worker_pids()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    platform.until(lambda: len(platform.worker_pids() - before) == 1)
    platform.accept_many(20)
    platform.until(lambda: metric(scrape(port), "jobs_processed_total") == 81)

    told = scrape(port)
    assert metric(told, "jobs_processed_total", status="completed", type="email") == 80
    assert metric(told, "jobs_processed_total", status="failed", type="email") == 1
    assert metric(told, "job_processing_duration_seconds_count", type="email") == 81
    assert metric(told, "job_failures_total") == metric(told, "jobs_in_dlq") == 1
    assert metric(told, "send_unknown_total") == 0
    assert metric(told, "queue_depth", lane="messages", priority="default") == 0
    platform.until(lambda: metric(scrape(port), "active_workers_count", state="available") == 2)
    platform.assert_books_balance()


def test_a_node_told_to_stop_drains_and_leaves_nothing(platform, smtp, node, port):
    processes = platform.worker_pids()
    platform.accept_many(20)

    node.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: node.returncode is not None)

    assert node.returncode == 0
    assert not Worker.objects.exists()
    assert not any(map(is_running, processes))
    platform.assert_books_balance()


def test_a_killed_node_takes_its_processes_with_it_once_they_have_drained(platform, smtp, node):
    processes = platform.worker_pids()

    os.kill(node.pid, signal.SIGKILL)
    platform.until(lambda: not any(map(is_running, processes)))

    assert not Worker.objects.exists()
