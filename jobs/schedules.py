"""Schedules as their owners know them: made, paused, resumed and deleted. What the clock does is in firings.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from jobs import requests, timetables
from jobs.columns import as_json
from jobs.database import move, single_statement
from jobs.errors import InvalidRequest, NameTaken, NotFound
from jobs.models import Schedule
from jobs.requests import JobRequest, is_key
from jobs.sql import run
from jobs.states import Missed
from jobs.timetables import Timetable

log = structlog.get_logger(__name__)

LONGEST_NAME = 100
OPTIONS = ("priority", "max_attempts", "on_unknown", "provider")
OWN = ("name", "cron", "time_zone", "missed")
KNOWN = (*OWN, "type", "payload", *OPTIONS)
OF_EACH_RUN = {  # options of a job that make no sense for many
    "idempotency_key": "Each run has a key of its own, made of the schedule and its time. Leave it out.",
    "dedupe_key": "Of jobs with the same key only one would ever be sent. Leave it out.",
    "run_at": "The cron expression says when. Leave it out.",
    "delay_seconds": "The cron expression says when. Leave it out.",
    "expires_at": "It would be over for all later runs. Leave it out.",
}


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A validated wish for a schedule."""

    name: str
    cron: str
    time_zone: str
    missed: Missed
    timetable: Timetable
    job: JobRequest
    options: dict[str, Any]  # those that were given


# ── Read ──────────────────────────────────────────────────────────────────────────────────────


def read(body: object) -> NewSchedule:
    """Read one request body: `{"name", "cron", "time_zone", "missed"}` and a job, `{"type", "payload", …options}`.

    Raises InvalidRequest with every field that is wrong, those of the job as POST /jobs names them.
    """
    if not isinstance(body, dict):
        raise InvalidRequest.field(
            "body",
            'Send a JSON object, for example {"name": "report", "cron": "@daily", "type": "email", "payload": {…}}.',
        )
    errors = _unknown_fields(body)
    own = {"time_zone": "UTC", "missed": Missed.ONCE.value} | {name: body[name] for name in OWN if name in body}
    errors |= _wrong_texts(own)
    timetable = job = None
    try:
        timetable = timetables.read(_text(own.get("cron")), _text(own["time_zone"]))
    except InvalidRequest as refusal:
        errors = refusal.fields | errors
    try:
        job = job_of({name: value for name, value in body.items() if name in KNOWN and name not in OWN})
    except InvalidRequest as refusal:
        errors |= refusal.fields
    if errors or timetable is None or job is None:
        raise InvalidRequest("; ".join(f"{name}: {said[0]}" for name, said in errors.items()), fields=errors)
    options = {name: body[name] for name in OPTIONS if body.get(name) is not None}
    return NewSchedule(own["name"], own["cron"], own["time_zone"], Missed(own["missed"]), timetable, job, options)


def job_of(fields: Mapping[str, Any]) -> JobRequest:
    """The job of a schedule as a request for one. Raises InvalidRequest."""
    if "payload" not in fields:
        raise InvalidRequest.field("payload", "Required: what each job of the schedule needs.")
    return requests.read(dict(fields))


def _unknown_fields(body: Mapping[str, Any]) -> dict[str, list[str]]:
    known = f"Unknown field. Known: {', '.join(KNOWN)}."
    return {name: [OF_EACH_RUN.get(name, known)] for name in body if name not in KNOWN}


def _wrong_texts(own: Mapping[str, Any]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    name = own.get("name")
    if not isinstance(name, str) or not is_key(name) or len(name) > LONGEST_NAME:
        errors["name"] = [f"Required: 1 to {LONGEST_NAME} printable characters, yours alone. Example: weekly-report."]
    if not isinstance(own.get("cron"), str):
        errors["cron"] = [f"Required, a string. {timetables.EXAMPLE}"]
    if not isinstance(own["time_zone"], str):
        errors["time_zone"] = ["A string. Example: Europe/Berlin; without it UTC."]
    if own["missed"] not in list(Missed):
        errors["missed"] = [f"One of {', '.join(Missed)}."]
    return errors


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# ── Write ─────────────────────────────────────────────────────────────────────────────────────


def create(wanted: NewSchedule, *, owner_id: int) -> Schedule:
    """Raises NameTaken, or InvalidRequest for an expression that never comes true."""
    next_at = _next_of(wanted.timetable)
    schedule_id = uuid7()
    if not _insert(schedule_id, wanted, owner_id=owner_id, next_at=next_at):
        taken = Schedule.objects.filter(owner_id=owner_id, name=wanted.name).values_list("id", flat=True).first()
        raise NameTaken(f"You have a schedule {wanted.name!r}: {taken}. Delete it first, or use another name.")
    log.info("schedule_created", schedule_id=str(schedule_id), type=wanted.job.type.name, owner_id=owner_id)
    return own(schedule_id, owner_id=owner_id)


def own(schedule_id: UUID, *, owner_id: int | None) -> Schedule:
    """The owner's schedule; anybody's without one. Raises NotFound."""
    rows = Schedule.objects.filter(id=schedule_id)
    found = (rows if owner_id is None else rows.filter(owner_id=owner_id)).first()
    if found is None:
        raise NotFound
    return found


def pause(schedule_id: UUID, *, owner_id: int | None, reason: str) -> Schedule:
    """It makes no job until it is resumed; one that is paused stays as it is. Raises NotFound."""
    own(schedule_id, owner_id=owner_id)
    if rest(schedule_id, reason=reason):
        log.info("schedule_paused", schedule_id=str(schedule_id), reason=reason)
    return own(schedule_id, owner_id=owner_id)


def resume(schedule_id: UUID, *, owner_id: int | None) -> Schedule:
    """On from the next time to come; what passed meanwhile was not missed. Raises NotFound, or InvalidRequest when
    its job would be refused now, or its expression or zone."""
    row = own(schedule_id, owner_id=owner_id)
    if not row.paused:
        return row
    job_of({"type": row.type, "payload": row.payload} | row.options)
    if _resume(schedule_id, next_at=_next_of(timetables.read(row.cron, row.time_zone))):
        log.info("schedule_resumed", schedule_id=str(schedule_id))
    return own(schedule_id, owner_id=owner_id)


def delete(schedule_id: UUID, *, owner_id: int) -> Schedule:
    """The schedule as it was; its jobs stay. Raises NotFound."""
    row = own(schedule_id, owner_id=owner_id)
    Schedule.objects.filter(id=schedule_id).delete()
    log.info("schedule_deleted", schedule_id=str(schedule_id), owner_id=owner_id)
    return row


@move
def rest(schedule_id: UUID, *, reason: str) -> bool:
    """Pause it; whether it was not."""
    return bool(run("pause_schedule", id=schedule_id, reason=reason))


@move
def _resume(schedule_id: UUID, *, next_at: datetime) -> bool:
    return bool(run("resume_schedule", id=schedule_id, next_at=next_at))


@single_statement
def _insert(schedule_id: UUID, wanted: NewSchedule, *, owner_id: int, next_at: datetime) -> bool:
    columns = {
        "id": schedule_id,
        "owner_id": owner_id,
        "name": wanted.name,
        "cron": wanted.cron,
        "time_zone": wanted.time_zone,
        "missed": wanted.missed.value,
        "type": wanted.job.type.name,
        "payload": as_json(wanted.job.payload),
        "options": as_json(wanted.options),
        "next_at": next_at,
    }
    return bool(run("insert_schedule", **columns))


def _next_of(timetable: Timetable) -> datetime:
    next_at = timetable.next_after(_now())
    if next_at is None:
        raise InvalidRequest.field("cron", f"No such time within 50 years. {timetables.EXAMPLE}")
    return next_at


@single_statement
def _now() -> datetime:
    now: datetime = run("now")[0].now
    return now
