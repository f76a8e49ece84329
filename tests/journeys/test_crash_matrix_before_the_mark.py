"""The crash matrix (DESIGN §4.8) before the dot mark: nothing was sent, so somebody else sends it, once."""

from __future__ import annotations

import httpx
import pytest

from jobs import queue
from jobs.models import DeadLetter, Delivery
from scheduler.embedded.child import free_port
from scheduler.embedded.faulty_smtp import AFTER_DATA
from tests.journeys.platform import metric
from tests.journeys.servers import held_up, is_waiting_in

pytestmark = pytest.mark.slow


def assert_sent_once_by_another_worker(platform, smtp, job_id):
    platform.start_worker()
    platform.until_status("completed", job_id)

    assert len(smtp.accepted) == 1
    assert not DeadLetter.objects.exists()
    platform.assert_books_balance()


def test_a_worker_that_dies_between_bell_and_claim(platform, smtp):
    job_id = platform.accept()

    with held_up("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", job_id):
        worker = platform.start_worker()
        platform.until(lambda: is_waiting_in("claim"))
        worker.kill()
        platform.until(lambda: not is_waiting_in("claim"))  # PostgreSQL has noticed

    assert (platform.job(job_id).status, queue.depths()["default"]) == ("queued", 0)
    platform.start_scheduler()
    assert_sent_once_by_another_worker(platform, smtp, job_id)
    assert platform.outcomes(job_id) == ["sent"]


def test_a_worker_that_dies_between_claim_and_gate(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    job_id = platform.accept()
    key = bytes(platform.job(job_id).dedupe_hash)
    rival = "INSERT INTO jobs_delivery (dedupe_hash, job_id, state, claimed_at) VALUES (%s, %s, 'released', now())"

    with held_up(rival, key, job_id):
        worker = platform.start_worker()
        platform.until(lambda: is_waiting_in("gate"))
        worker.kill()
        platform.until(lambda: not is_waiting_in("gate"))

    assert platform.job(job_id).status == "running"
    assert not Delivery.objects.exists()
    assert_sent_once_by_another_worker(platform, smtp, job_id)
    assert platform.outcomes(job_id) == ["lost", "sent"]


def test_a_worker_that_dies_between_gate_and_mark(platform, smtp):
    platform.shorten_lease()
    port = free_port()
    platform.start_scheduler("--metrics-port", str(port))
    never_invited = smtp.hold(AFTER_DATA)
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(lambda: never_invited.is_reached)
    worker.kill()

    assert (platform.job(job_id).status, Delivery.objects.get().state) == ("running", "claimed")
    assert_sent_once_by_another_worker(platform, smtp, job_id)
    assert platform.outcomes(job_id) == ["lost", "sent"]
    assert platform.job(job_id).deaths == 0, "acquitted: its preparation did no harm"
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert metric(told, "lease_timeouts_total") == 1
