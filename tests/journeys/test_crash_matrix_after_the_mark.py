"""The crash matrix (DESIGN §4.8) after the dot: nobody can know, so nobody sends it again, and a person sees why."""

from __future__ import annotations

import pytest

from jobs.models import DeadLetter, Delivery
from tests.journeys.holding_smtp import AFTER_DOT
from tests.journeys.servers import held_up, is_waiting_in
from tests.workers.smtp_servers import ACCEPT_THEN_STALL, Act, AtDot

pytestmark = pytest.mark.slow

THROW_AWAY_AND_STALL = AtDot(False, Act.STALL)


def assert_unknown_with_its_evidence(platform, job_id):
    platform.until_status("unknown", job_id)

    job, dead_letter, delivery = platform.job(job_id), DeadLetter.objects.get(), Delivery.objects.get()
    assert (dead_letter.job_id, dead_letter.reason, dead_letter.resolution) == (job_id, "unknown", None)
    assert job.last_error["kind"] == dead_letter.error["kind"] == "worker_lost"
    assert (delivery.state, delivery.provider, delivery.claim) == ("unknown", "main", dead_letter.claim)
    assert delivery.dot_at is not None
    assert platform.outcomes(job_id) == ["unknown"]


def assert_nobody_sends_it_again(platform, smtp, job_id):
    """A worker that finishes something else of the same kind has had its chance."""
    copies = platform.copies(job_id)
    platform.start_worker()
    later = platform.accept("later@example.com")
    platform.until_status("completed", later)

    assert platform.copies(job_id) == copies
    platform.assert_books_balance()


@pytest.mark.parametrize(("at_dot", "copies"), [(ACCEPT_THEN_STALL, 1), (THROW_AWAY_AND_STALL, 0)])
def test_a_worker_that_dies_between_dot_and_reply(platform, smtp, at_dot, copies):
    platform.shorten_lease()
    platform.start_scheduler()
    smtp.once("dot", at_dot)
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(lambda: smtp.dots == 1)
    worker.kill()

    assert_unknown_with_its_evidence(platform, job_id)
    assert platform.copies(job_id) == copies
    assert_nobody_sends_it_again(platform, smtp, job_id)


def test_a_worker_that_dies_between_reply_and_settlement(platform, smtp):
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
    assert platform.copies(job_id) == 1
    assert_nobody_sends_it_again(platform, smtp, job_id)
