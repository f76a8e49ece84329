"""What email services tell of mails: written down once, for the job it is about and its owner.

Whoever is told of here has been verified (jobs/api/events.py). The job is named by what we gave the service with the
mail; the owner is the job's, and the recipient has to be one of the job's own, so that an event that names another's
job adds nothing to that one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from msgspec import Struct

from jobs import bounces, suppressions
from jobs.database import move
from jobs.errors import InvalidRequest
from jobs.metrics import EMAIL_EVENTS
from jobs.postgres.arrays import Booleans, Integers, Texts, Uuids
from jobs.settlements import clean
from jobs.sql import run
from jobs.states import EventKind, SuppressionReason

log = structlog.get_logger(__name__)

JOB_IN_METADATA = "job_id"
UNMATCHED = "unmatched"
GUESSING = frozenset({"resend"})  # of which anymail says that it names the first recipient, whoever it was
_OUR_MESSAGE_ID = re.compile(r"<?([0-9a-f-]{36})@[^@>]*>?")


class News(Struct, frozen=True, kw_only=True):
    """One event, fit for a row."""

    job_id: UUID | None  # None: nothing in it names a job of ours
    esp: str
    event_id: str
    kind: EventKind
    recipient: str  # in lower case
    is_guess: bool  # the service does not know which of several it was
    reason: str
    detail: str
    at: datetime | None
    suppresses: SuppressionReason | None


class Tally(Struct, frozen=True, kw_only=True):
    """What became of the events of one call."""

    new: int
    told_before: int
    unmatched: int
    suppressed: int


def read(esp: str, event: Any) -> News | None:
    """anymail's event as ours; None for a kind that is not kept."""
    try:
        kind = EventKind(event.event_type)
    except ValueError:
        return None
    recipient = clean(event.recipient or "").strip().lower()
    reason = clean(event.reject_reason or "")
    return News(
        job_id=_job_of(event),
        esp=esp,
        event_id=clean(str(event.event_id)) if event.event_id else _made_of(event, recipient),
        kind=kind,
        recipient=recipient,
        is_guess=esp in GUESSING,
        reason=reason,
        detail=clean(" ".join(str(part) for part in (event.description, event.mta_response) if part)),
        at=event.timestamp,
        suppresses=_suppresses(esp, kind, event.esp_event),
    )


def record(news: Sequence[News]) -> Tally:
    """Write down what is new, and suppress whom it suppresses. Of the rest it is only counted."""
    tally, told = _write(news)
    for kind in told:
        EMAIL_EVENTS.labels(kind=kind.value).inc()
    EMAIL_EVENTS.labels(kind=UNMATCHED).inc(tally.unmatched)
    return tally


@move
def _write(news: Sequence[News]) -> tuple[Tally, list[EventKind]]:
    ours = list({(one.job_id, one.event_id, one.recipient): one for one in news if one.job_id is not None}.values())
    rows = run("insert_events", **_columns(ours)) if ours else []
    new = [(ours[row.number], row) for row in rows if row.is_new]
    suppressed = sum(_suppress(one, row.owner_id) for one, row in new if row.recipient)
    unmatched = sum(one.job_id is None for one in news) + len(ours) - len(rows)
    tally = Tally(new=len(new), told_before=len(rows) - len(new), unmatched=unmatched, suppressed=suppressed)
    return tally, [one.kind for one, _ in new]


def _columns(news: Sequence[News]) -> dict[str, Any]:
    return {
        "numbers": Integers(range(len(news))),
        "ids": Uuids(one.job_id for one in news),
        "esps": Texts(one.esp for one in news),
        "event_ids": Texts(one.event_id for one in news),
        "kinds": Texts(one.kind.value for one in news),
        "recipients": Texts(one.recipient for one in news),
        "guesses": Booleans(one.is_guess for one in news),
        "reasons": Texts(one.reason for one in news),
        "details": Texts(one.detail for one in news),
        "ats": [one.at for one in news],
    }


def _suppress(one: News, owner_id: int) -> int:
    if one.suppresses is None:
        return 0
    detail = f"{one.esp}: {one.detail or one.kind}"
    try:
        return suppressions.add(owner_id, [one.recipient], reason=one.suppresses, detail=detail, job_id=one.job_id)
    except InvalidRequest:  # whatever the service wrote there, no mail goes to it
        log.warning("event_suppresses_no_address", job_id=str(one.job_id), esp=one.esp)
        return 0


def _suppresses(esp: str, kind: EventKind, raw: object) -> SuppressionReason | None:
    if kind is EventKind.COMPLAINED:
        return SuppressionReason.COMPLAINT
    if kind is EventKind.UNSUBSCRIBED:
        return SuppressionReason.UNSUBSCRIBE
    return SuppressionReason.HARD_BOUNCE if bounces.is_final(esp, kind, raw) else None


def _job_of(event: Any) -> UUID | None:
    """By our Message-ID, where the service keeps it, else by the metadata that went with the mail."""
    metadata = event.metadata if isinstance(event.metadata, Mapping) else {}
    found = _OUR_MESSAGE_ID.fullmatch(str(event.message_id or ""))
    for text in (found and found[1], metadata.get(JOB_IN_METADATA)):
        try:
            return UUID(str(text))
        except ValueError:
            continue
    return None


def _made_of(event: Any, recipient: str) -> str:
    """For a service that gives its events no ids: the same words are the same event."""
    at = event.timestamp.isoformat() if event.timestamp else ""
    words = "\0".join(str(part) for part in (event.message_id, event.event_type, recipient, event.reject_reason, at))
    return f"made:{hashlib.blake2b(words.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"
