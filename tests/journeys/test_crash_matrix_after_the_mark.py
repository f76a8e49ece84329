"""The crash matrix (DESIGN §4.8) after the dot: nobody can know, so nobody sends it again, and a person sees why."""

from __future__ import annotations

import shutil

import pytest

from jobs.models import DeadLetter, Delivery
from scheduler.embedded.faulty_smtp import AFTER_DOT, Act, AtDot
from tests.journeys.servers import held_up, is_waiting_in

pytestmark = pytest.mark.slow


def assert_unknown_with_its_evidence(platform, job_id):
    platform.until_status("unknown", job_id)

    job = platform.job(job_id)
    dead_letter, delivery = DeadLetter.objects.get(job_id=job_id), Delivery.objects.get(job_id=job_id)
    assert (dead_letter.reason, dead_letter.resolution) == ("unknown", None)
    assert job.last_error["kind"] == dead_letter.error["kind"] == "worker_lost"
    assert (delivery.state, delivery.provider, delivery.claim) == ("unknown", "main", dead_letter.claim)
    assert delivery.dot_at is not None
    assert platform.outcomes(job_id) == ["unknown"]


def test_a_worker_that_dies_between_dot_and_reply_leaves_unknowns_that_nobody_sends_again(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    platform.start_scheduler()
    smtp.at_dot = lambda mail: AtDot(mail.recipients[0] == "kept@example.com", Act.STALL)
    kept, thrown_away = platform.accept("kept@example.com"), platform.accept("thrown-away@example.com")

    worker = platform.start_worker()
    platform.until(lambda: smtp.dots == 2)
    worker.kill()
    assert_unknown_with_its_evidence(platform, kept)
    assert_unknown_with_its_evidence(platform, thrown_away)
    smtp.at_dot = None
    platform.start_worker()
    later = platform.accept("later@example.com")
    platform.until_status("completed", later)

    assert [platform.copies(job) for job in (kept, thrown_away, later)] == [1, 0, 1]
    platform.assert_books_balance()


def test_a_worker_that_dies_between_reply_and_settlement_leaves_the_reply_to_the_next_one(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    late_reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(lambda: late_reply.is_reached)
    with held_up("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", job_id):
        late_reply.release()
        platform.until(lambda: is_waiting_in("lock_jobs"))
        worker.kill()
    assert_unknown_with_its_evidence(platform, job_id)
    platform.start_worker()
    platform.until_status("completed", job_id)

    assert platform.outcomes(job_id) == ["unknown", "sent"]
    assert DeadLetter.objects.get().resolution == "late_reply"
    assert platform.copies(job_id) == 1
    platform.assert_books_balance()


def test_without_its_disk_the_reply_is_lost_with_the_worker(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    late_reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(lambda: late_reply.is_reached)
    with held_up("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", job_id):
        late_reply.release()
        platform.until(lambda: is_waiting_in("lock_jobs"))
        worker.kill()
    shutil.rmtree(platform.env["JOURNAL_DIR"])
    platform.start_worker()

    assert_unknown_with_its_evidence(platform, job_id)
    later = platform.accept("later@example.com")
    platform.until_status("completed", later)
    assert platform.job(job_id).status == "unknown"
    platform.assert_books_balance()
