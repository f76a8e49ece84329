"""What people decide, for the API and the admin alike: the move, then the bell (§4.6, §4.7).

Call these outside a transaction: the bell must ring after the commit.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from jobs import queue, resolutions, transitions
from jobs.errors import InvalidRequest, NotFound, TooLate
from jobs.models import Job
from jobs.states import Decision, Status

log = structlog.get_logger(__name__)

LONGEST_NOTE = 500


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


def requeue(dead_letter: int, *, by: int, note: str = "", override: bool = False) -> None:
    """A new budget for a dead job. Raises NotFound, or TooLate for an unknown or a decided one.

    Raises AlreadySent when another job of its key was sent; `override`, with a note, sends once more.
    """
    waiting = resolutions.requeue(dead_letter, by=by, note=note, override=override)
    queue.push([waiting])
    log.info("dead_letter_requeued", dead_letter=dead_letter, job_id=str(waiting.job_id), by=by, override=override)


def discard(dead_letter: int, *, by: int, note: str = "") -> None:
    """Put a dead letter aside. Raises TooLate for an unknown or a decided one."""
    resolutions.discard(dead_letter, by=by, note=note)
    log.info("dead_letter_discarded", dead_letter=dead_letter, by=by)


def resolve(dead_letter: int, decision: Decision, *, by: int | None, note: str = "", new_budget: bool = True) -> None:
    """Decide an unknown; `by` is None for the job's own policy, which gives no new budget.

    Raises NotFound, or TooLate when somebody, or a late reply, was first.
    """
    dedupe_hash, waiting = resolutions.resolve(dead_letter, decision, by=by, note=note, new_budget=new_budget)
    if decision is Decision.SEND_AGAIN:
        queue.push([waiting])
    elif decision is Decision.MARK_SENT:
        queue.remember_sent([dedupe_hash])
    log.info("unknown_decided", dead_letter=dead_letter, job_id=str(waiting.job_id), decision=decision.value, by=by)


def as_decision(word: str) -> Decision:
    """Raises InvalidRequest naming `decision`."""
    try:
        return Decision(word)
    except ValueError:
        raise InvalidRequest.field("decision", f"One of {', '.join(Decision)}.") from None


def clean_note(note: str | None, *, is_required: bool = False) -> str:
    """Why somebody decides so: one line of plain text. Raises InvalidRequest naming `note`."""
    line = " ".join((note or "").split())
    if is_required and not line:
        raise InvalidRequest.field("note", "Required with an override: say why it may be sent once more.")
    if len(line) > LONGEST_NOTE:
        raise InvalidRequest.field("note", f"Has {len(line)} characters; at most {LONGEST_NOTE}.")
    if not line.isprintable():
        raise InvalidRequest.field("note", "Only printable characters; line breaks become spaces.")
    return line


def _own(job_id: UUID, owner_id: int) -> Job:
    job = Job.objects.filter(id=job_id, owner_id=owner_id).first()
    if job is None:
        raise NotFound
    return job
