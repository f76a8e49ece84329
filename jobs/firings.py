"""The clock's side of schedules: what is due becomes jobs, in the same transaction in which its next time is written.

So nobody can fire it twice: whoever comes second finds the next time. And should a time come up all the same, in a
database that was put back to an hour ago, its job's idempotency key, of schedule and time, leads to the job that there
is, and its dedupe key to the message that was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from django.db import DatabaseError, InterfaceError, transaction

from jobs import intake, queue, schedules, timetables
from jobs.database import is_refused, move
from jobs.errors import ASK_AGAIN, Refused
from jobs.intake import Accepted
from jobs.requests import JobRequest
from jobs.sql import run
from jobs.states import Missed
from jobs.timetables import Timetable

log = structlog.get_logger(__name__)

MOST = 100  # jobs of one schedule at once, by the policy `all`
COUNTED = 1000  # missed times are counted no further: a minute's schedule has half a million a year
PUNCTUAL = timedelta(minutes=1)  # cron's own grain: a time is not missed before the next could be


class Firing(NamedTuple):
    """What became of one schedule that was due."""

    schedule_id: UUID
    fired: int = 0
    missed: int = 0
    paused: bool = False
    put_off: bool = False  # it is still due; another schedule's turn


@move
def fire(*, but: Collection[UUID] = ()) -> Firing | None:
    """Fire the schedule that has been due longest, `but` these; None: no other is due.

    One whose job is refused is paused, with the reason for its owner to read.
    """
    due = run("due_schedule", but=list(but))
    if not due:
        return None
    row = due[0]
    try:
        with transaction.atomic():
            return _fire(row)
    except ASK_AGAIN as refusal:
        log.info("schedule_put_off", schedule_id=str(row.id), detail=refusal.detail)
        return Firing(row.id, put_off=True)
    except Refused as refusal:
        return _pause(row, f"Its job was refused. {refusal.detail}")
    except (DatabaseError, InterfaceError) as error:
        if not is_refused(error):
            raise
        log.exception("schedule_failed", schedule_id=str(row.id))
        return _pause(row, f"Its job could not be written: {type(error).__name__}.")
    except Exception:  # rules of somebody's own type may raise anything; the other schedules go on
        log.exception("schedule_failed", schedule_id=str(row.id))
        return Firing(row.id, put_off=True)


def _fire(row: Any) -> Firing:
    timetable = timetables.read(row.cron, row.time_zone)
    due = list(islice(_until(row.now, chain([row.next_at], timetable.after(row.next_at))), COUNTED))
    wanted = _wanted(row, due, timetable)
    made = _accept(row, wanted)
    next_at = timetable.next_after(row.now)
    last_at, last_job_id = (wanted[-1], made[-1].job_id) if made else (None, None)
    moved = run(
        "advance_schedule", id=row.id, expected=row.next_at, next_at=next_at, last_at=last_at, last_job_id=last_job_id
    )
    assert moved, "its row is locked"
    missed = max(0, len(due) - len(wanted))
    if missed:
        log.warning("schedule_missed", schedule_id=str(row.id), policy=row.missed, **_told(due, missed))
    return Firing(row.id, fired=sum(not answer.is_replay for answer in made), missed=missed)


def _wanted(row: Any, due: Sequence[datetime], timetable: Timetable) -> Sequence[datetime]:
    """Those of the due times that get a job."""
    policy = Missed(row.missed)
    if policy is Missed.ALL:
        return due[:MOST]
    if policy is Missed.ONCE:
        return due[:1]
    since = row.now - PUNCTUAL
    late = due if len(due) < COUNTED else list(_until(row.now, timetable.after(since)))
    return [at for at in late if at > since][-1:]


def _until(now: datetime, times: Iterator[datetime]) -> Iterator[datetime]:
    return takewhile(lambda at: at <= now, times)


def _accept(row: Any, times: Sequence[datetime]) -> list[Accepted]:
    """Jobs for these times. Raises what one of them is refused with."""
    if not times:
        return []
    payload, options = msgspec.json.decode(row.payload), msgspec.json.decode(row.options)
    job = schedules.job_of({"type": row.type, "payload": payload} | options)
    answers = intake.accept_many(
        [_at(job, at, row.id) for at in times],
        owner_id=row.owner_id,
        correlation_id=f"schedule-{row.id}",
        bell=queue.announce_after_commit,
    )
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
    return [answer for answer in answers if isinstance(answer, Accepted)]


def _at(job: JobRequest, at: datetime, schedule_id: UUID) -> JobRequest:
    key = f"schedule:{schedule_id}:{at:%Y-%m-%dT%H:%MZ}"
    return replace(job, options=msgspec.structs.replace(job.options, idempotency_key=key, run_at=at))


def _pause(row: Any, reason: str) -> Firing:
    schedules.rest(row.id, reason=reason)
    log.warning("schedule_paused", schedule_id=str(row.id), reason=reason)
    return Firing(row.id, paused=True)


def _told(due: Sequence[datetime], missed: int) -> dict[str, Any]:
    return {"missed": missed, "first": due[0].isoformat(), "is_more": len(due) == COUNTED}
