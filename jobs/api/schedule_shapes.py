"""What the API answers about schedules: encoded as it stands, and described in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, islice
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from jobs import models, timetables
from jobs.errors import InvalidRequest
from jobs.states import Missed, OnUnknown, Priority

SHOWN = 5  # times to come

# What stands in a request beside the job, for the OpenAPI document. jobs/schedules.py reads it.
REQUIRED: dict[str, dict[str, Any]] = {
    "name": {
        "type": "string",
        "minLength": 1,
        "maxLength": 100,
        "description": "You have no other of this name.",
    },
    "cron": {
        "type": "string",
        "maxLength": timetables.LONGEST,
        "description": "Minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, …",
        "examples": ["30 7 * * 1-5"],
    },
}
OPTIONAL: dict[str, dict[str, Any]] = {
    "time_zone": {
        "type": "string",
        "default": "UTC",
        "description": "A name of the IANA time zone database.",
        "examples": ["Europe/Berlin"],
    },
    "missed": {
        "enum": list(Missed),
        "default": Missed.ONCE,
        "description": "What becomes of times at which no clock was running: `skip` them, one job for all of them "
        "(`once`), or one for each (`all`, up to 100).",
    },
}


class Schedule(Struct, frozen=True, kw_only=True):
    """A job that is made again and again."""

    id: UUID
    name: str
    cron: str
    time_zone: str
    missed: Missed
    type: str
    payload: dict[str, Any]
    priority: Annotated[Priority | None, Meta(description="Null: its type's.")]
    max_attempts: Annotated[int | None, Meta(description="Null: its type's, or the installation's.")]
    on_unknown: Annotated[OnUnknown | None, Meta(description="Null: the installation's, or its type's.")]
    provider: str | None
    paused: bool
    pause_reason: Annotated[
        str | None, Meta(description="Who paused it, or why it paused itself: its job was refused.")
    ]
    next_times: Annotated[
        list[datetime], Meta(description="The next five, by the clocks of its time zone; none while it is paused.")
    ]
    last_at: Annotated[datetime | None, Meta(description="The time for which it made its last job.")]
    last_job_id: Annotated[UUID | None, Meta(description="That job; retention may have taken it.")]
    created_at: datetime
    updated_at: datetime


class SchedulePage(Struct, frozen=True, kw_only=True):
    """Some schedules, newest first; `next` and `previous` are whole URLs."""

    results: list[Schedule]
    next: str | None
    previous: str | None


# ── From rows ─────────────────────────────────────────────────────────────────────────────────


def schedule(row: models.Schedule) -> Schedule:
    options = row.options
    return Schedule(
        id=row.id,
        name=row.name,
        cron=row.cron,
        time_zone=row.time_zone,
        missed=Missed(row.missed),
        type=row.type,
        payload=row.payload,
        priority=options.get("priority"),
        max_attempts=options.get("max_attempts"),
        on_unknown=options.get("on_unknown"),
        provider=options.get("provider"),
        paused=row.paused,
        pause_reason=row.pause_reason or None,
        next_times=next_times(row),
        last_at=row.last_at,
        last_job_id=row.last_job_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def next_times(row: models.Schedule) -> list[datetime]:
    """As a clock on the wall shows them; none where its zone or its expression is not understood any more."""
    if row.next_at is None:
        return []
    try:
        timetable = timetables.read(row.cron, row.time_zone)
    except InvalidRequest:
        return []
    times = islice(chain([row.next_at], timetable.after(row.next_at)), SHOWN)
    return [at.astimezone(timetable.zone) for at in times]
