"""The crash matrix (DESIGN §4.8): a worker paused past its lease wakes up in a world that went on without it."""

from __future__ import annotations

import pytest

from jobs.models import DeadLetter
from scheduler.embedded.faulty_smtp import AFTER_DATA, AFTER_DOT

pytestmark = pytest.mark.slow


def test_paused_before_the_mark_it_writes_no_dot(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    late_invitation = smtp.hold(AFTER_DATA)
    job_id = platform.accept()
    zombie = platform.start_worker()
    platform.until(lambda: late_invitation.is_reached)

    platform.pause(zombie)
    platform.start_worker()
    platform.until_status("completed", job_id)
    as_settled = platform.job(job_id)
    late_invitation.release()
    platform.resume(zombie)
    platform.until(lambda: platform.said(zombie, "claim_lost") and smtp.unfinished)

    assert (smtp.dots, len(smtp.accepted)) == (1, 1)
    assert platform.outcomes(job_id) == ["lost", "sent"]
    assert platform.job(job_id).result == as_settled.result
    assert zombie.is_running
    platform.assert_books_balance()


def test_paused_after_the_mark_its_late_reply_closes_the_unknown_by_itself(platform, smtp):
    platform.shorten_lease()
    platform.start_scheduler()
    late_reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()
    zombie = platform.start_worker()
    platform.until(lambda: late_reply.is_reached)

    platform.pause(zombie)
    platform.until_status("unknown", job_id)
    late_reply.release()
    platform.resume(zombie)
    platform.until_status("completed", job_id)

    dead_letter = DeadLetter.objects.get()
    assert (dead_letter.reason, dead_letter.resolution, dead_letter.resolved_by) == ("unknown", "late_reply", None)
    assert platform.outcomes(job_id) == ["unknown", "sent"]
    assert len(smtp.accepted) == 1
    platform.assert_books_balance()
