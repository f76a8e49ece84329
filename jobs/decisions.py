"""What people decide, for the API and the admin alike: the move, then the bell (§4.6, §4.7).

Call these outside a transaction: the bell must ring after the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from jobs import queue, resolutions, transitions
from jobs.errors import NotFound, TooLate
from jobs.models import DeadLetter, Job
from jobs.states import Decision, Reason, Status

log = structlog.get_logger(__name__)


def cancel(job_id: UUID, *, owner_id: int) -> Job:
    """The cancelled job; a second cancel finds it so. Raises NotFound, or TooLate when it has been taken."""
    try:
        transitions.cancel(job_id, owner_id=owner_id)
    except TooLate:
        if _own(job_id, owner_id).status != Status.CANCELLED:
            raise
    else:
        log.info("job_cancelled", job_id=str(job_id), by=owner_id)
    return _own(job_id, owner_id)


def requeue(dead_letter: int, *, by: int) -> None:
    """A new budget for a dead job. Raises NotFound, or TooLate for an unknown or a decided one."""
    with _told_why(dead_letter):
        waiting = resolutions.requeue(dead_letter, by=by)
    queue.push([waiting])
    log.info("dead_letter_requeued", dead_letter=dead_letter, job_id=str(waiting.job_id), by=by)


def discard(dead_letter: int, *, by: int) -> None:
    """Put a dead letter aside. Raises TooLate for an unknown or a decided one."""
    with _told_why(dead_letter):
        resolutions.discard(dead_letter, by=by)
    log.info("dead_letter_discarded", dead_letter=dead_letter, by=by)


def resolve(dead_letter: int, decision: Decision, *, by: int | None, new_budget: bool = True) -> None:
    """Decide an unknown; `by` is None for the job's own policy, which gives no new budget.

    Raises NotFound, or TooLate when somebody, or a late reply, was first.
    """
    with _told_why(dead_letter):
        dedupe_hash, waiting = resolutions.resolve(dead_letter, decision, by=by, new_budget=new_budget)
    if decision is Decision.SEND_AGAIN:
        queue.push([waiting])
    elif decision is Decision.MARK_SENT:
        queue.remember_sent([dedupe_hash])
    log.info("unknown_decided", dead_letter=dead_letter, job_id=str(waiting.job_id), decision=decision.value, by=by)


@contextmanager
def _told_why(dead_letter: int) -> Iterator[None]:
    """A refused decision, in words that fit the dead letter as it stands now."""
    try:
        yield
    except TooLate as refusal:
        row = DeadLetter.objects.filter(id=dead_letter).only("reason", "resolution").first()
        raise TooLate(_why(row) if row else refusal.detail) from None


def _why(row: DeadLetter) -> str:
    if row.resolution:
        return f"This dead letter was decided before: {row.resolution}."
    if row.reason == Reason.UNKNOWN:
        return "An unknown is decided through resolve: mark_sent, send_again or drop."
    if row.reason == Reason.DROPPED:
        return "A job of the same key was dropped, which closed the key; discard this one, or send under another key."
    return "This dead letter is not an unknown, and its job may have moved on: requeue or discard it."


def _own(job_id: UUID, owner_id: int) -> Job:
    job = Job.objects.filter(id=job_id, owner_id=owner_id).first()
    if job is None:
        raise NotFound
    return job
