"""A part of a worker that dies or hangs takes its process down, and another one is started: nobody stays deaf."""

from __future__ import annotations

import time

import httpx
import pytest

from jobs.models import Job, Worker
from jobs.states import FINAL
from scheduler.embedded.child import free_port
from scheduler.embedded.faulty_smtp import AFTER_DOT
from tests.journeys import servers
from tests.journeys.faulty_worker import HANGS, STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LONGER_THAN_ANY_SILENCE_SECONDS = 12.0  # a watchdog's patience is 5 s with so short a lease, and a period of the part


@pytest.fixture
def faults(platform, tmp_path):
    folder = tmp_path / "faults"
    folder.mkdir()
    platform.env["FAULTS"] = str(folder)
    return folder


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def node(platform, faults, port):
    platform.shorten_lease()
    node = platform._start("node", "-m", "tests.journeys.faulty_worker", str(port))
    platform.until(lambda: len(platform.worker_pids()) == 2)
    until_ready(platform, port)
    return node


def readiness(port) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False)


def until_ready(platform, port, is_ready: bool = True) -> httpx.Response:
    return platform.until(lambda: (said := readiness(port)).is_success is is_ready and said)


def let_pass(platform, seconds: float) -> None:
    began = time.monotonic()
    platform.until(lambda: time.monotonic() - began > seconds)


@pytest.mark.parametrize("thread", STEPS)
def test_a_thread_dies_and_its_process_ends_in_order_and_another_one_is_started(
    platform, smtp, node, port, faults, thread
):
    reply = smtp.hold(AFTER_DOT)
    under_way = platform.accept()
    platform.until(lambda: reply.is_reached)
    before = platform.worker_pids()

    (faults / thread).touch()
    died = platform.until(lambda: platform.said(node, "thread_died"))
    reply.release()
    (ended,) = platform.until(lambda: platform.said(node, "worker_process_died"))
    platform.until(lambda: len(platform.worker_pids() - before) == 1)
    until_ready(platform, port)
    jobs = platform.accept_many(10)
    platform.until_status("completed", under_way, *jobs)

    assert [line["thread"] for line in died] == [thread]
    assert (ended["code"], ended["pid"] in before) == (1, True)
    assert len(smtp.accepted) == 11
    assert {job.deaths for job in Job.objects.all()} == {0}
    assert Worker.objects.count() == 2, "it took its row with it"
    platform.assert_books_balance()


def test_a_loop_hangs_and_its_process_ends_and_the_job_that_did_it_is_set_aside(platform, smtp, node, port):
    platform.env["POISON_DEATHS"] = "1"
    platform.start_scheduler()
    before = platform.worker_pids()

    hanging = platform.accept_body(
        {"type": "email", "payload": {"to": "ann@example.com", "subject": HANGS, "text": "For ever."}}
    )
    (told,) = platform.until(lambda: platform.said(node, "part_hangs"))
    (ended,) = platform.until(lambda: platform.said(node, "worker_process_died"))
    jobs = platform.accept_many(10)
    platform.until_status("completed", *jobs)
    platform.until(lambda: Job.objects.get(pk=hanging).status in FINAL)

    assert told["part"] == "loop"
    assert "write_or_hang" in told["where"][-1]
    assert (ended["code"], ended["pid"] in before) == (1, True)
    assert (platform.job(hanging).status, platform.job(hanging).deaths) == ("failed", 1)
    assert len(smtp.accepted) == 10
    until_ready(platform, port)
    platform.assert_books_balance()


def test_the_parent_answers_for_all_its_processes(platform, node, port):
    pids = platform.worker_pids()
    said = readiness(port).json()
    (victim, _) = sorted(pids)

    platform.pause(_Process(victim))
    not_ready = until_ready(platform, port, False).json()
    platform.resume(_Process(victim))
    until_ready(platform, port)

    assert {(row["process"], row["part"]) for row in said["parts"]} == {
        (pid, part) for pid in pids for part in ("loop", "taker", "recorder", "heartbeat")
    }
    assert {row["process"] for row in not_ready["parts"] if row["wrong"]} == {victim}
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert 'last_progress_timestamp_seconds{part="taker"}' in metrics
    assert httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).json() == {"status": "ok"}
    assert platform.worker_pids() == pids


class _Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid


# ── What is no death ──────────────────────────────────────────────────────────────────────────


def test_a_worker_that_is_paused_for_long_goes_on(platform, smtp):
    platform.shorten_lease()
    worker = platform.start_worker()
    platform.until(Worker.objects.exists)

    platform.pause(worker)
    let_pass(platform, LONGER_THAN_ANY_SILENCE_SECONDS)
    platform.resume(worker)
    job_id = platform.accept()
    platform.until_status("completed", job_id)

    assert worker.is_running
    assert not platform.said(worker, "part_hangs")


def test_a_worker_that_waits_long_for_a_lock_goes_on_and_nothing_becomes_unknown(platform, smtp):
    """As during a migration: its outcome is known, and cannot be written yet."""
    platform.shorten_lease()
    platform.start_scheduler()
    reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()
    worker = platform.start_worker()
    platform.until(lambda: reply.is_reached)

    with servers.held_up("LOCK TABLE jobs_job"):
        reply.release()
        let_pass(platform, LONGER_THAN_ANY_SILENCE_SECONDS)
    platform.until_status("completed", job_id)

    assert worker.is_running
    assert not platform.said(worker, "part_hangs")
    assert platform.outcomes(job_id) == ["sent"]
    platform.assert_books_balance()
