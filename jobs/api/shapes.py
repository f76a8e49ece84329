"""What the API answers, as msgspec shapes: encoded as they stand, and described from them in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from jobs import models
from jobs.bulk_decisions import Tally, sentence
from jobs.intake import Accepted
from jobs.resolutions import Outlook
from jobs.states import Priority, Reason, Resolution, Status, WorkerState


class AcceptedJob(Struct, frozen=True, kw_only=True):
    """The job is a committed row; it will not be lost."""

    id: UUID
    status: Annotated[Status, Meta(description="`queued`, or `scheduled` when it is due later.")]
    message: Annotated[str, Meta(examples=["Job added to queue"])] = "Job added to queue"
    location: Annotated[str, Meta(description="Where the job can be read.")]


class LastError(Struct, frozen=True, kw_only=True):
    """What stopped the last attempt."""

    kind: Annotated[str | None, Meta(description="A short word, for programs.")]
    code: Annotated[int | None, Meta(description="The other side's number: an SMTP reply code, an HTTP status.")]
    detail: Annotated[str | None, Meta(description="What the other side said, shortened.")]


class Job(Struct, frozen=True, kw_only=True):
    """One job, as its owner reads it. Times are ISO 8601 in UTC."""

    id: UUID
    type: str
    status: Status
    priority: Priority
    attempts: Annotated[int, Meta(description="Attempts used of `max_attempts`.")]
    max_attempts: int
    run_at: datetime
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    correlation_id: str
    idempotency_key: str | None
    dedupe_key: str | None
    payload: Annotated[
        dict[str, Any] | None, Meta(description="As accepted, without defaults; null once retention took it.")
    ]
    result: Annotated[
        dict[str, Any] | None,
        Meta(
            description="`duplicate_of`: another job has sent it. `held_behind`: waits for that one's decision. "
            "`suppressed`: recipients that were left out."
        ),
    ]
    last_error: LastError | None


class Attempt(Struct, frozen=True, kw_only=True):
    """One try, and what the other side said."""

    number: int
    outcome: str
    provider: str | None
    kind: str | None
    code: int | None
    detail: str
    started_at: datetime | None
    ended_at: datetime


class Evidence(Struct, frozen=True, kw_only=True):
    """What a provider said when it was asked whether it had the message."""

    asked_at: datetime | None
    source: Annotated[str, Meta(description="What was asked: a provider's log, its book, its API.")]
    accepted: Annotated[bool | None, Meta(description="Null: it could not say.")]
    detail: str


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A job that needs, or needed, somebody's eyes. Undecided while `resolution` is null."""

    id: int
    job_id: UUID
    type: str
    reason: Reason
    error: LastError | None
    attempts: Annotated[list[Attempt], Meta(description="All that was tried for this job, oldest first.")]
    payload: dict[str, Any] | None
    died_at: datetime
    resolution: Resolution | None
    resolved_at: datetime | None
    resolved_by: Annotated[
        str | None, Meta(description="Who decided it; null with a `resolution`: the machine, by policy or by evidence.")
    ]
    note: Annotated[str | None, Meta(description="Why, in the words of whoever decided it.")]
    evidence: Annotated[
        list[Evidence], Meta(description="What its provider said when it was asked about an unknown, in order.")
    ]


class DeadLetterCounts(Struct, frozen=True, kw_only=True):
    """How many dead letters stand how."""

    would_send: Annotated[int, Meta(description="Dead, and their keys are free: a requeue sends them.")]
    already_sent: Annotated[int, Meta(description="Another job of the same key was sent.")]
    unknown: Annotated[int, Meta(description="Nobody can know whether they were sent; they wait for a decision.")]
    in_flight: Annotated[int, Meta(description="Another job of the same key is on its way, undecided, or among these.")]
    expired: Annotated[int, Meta(description="`expires_at` is over: they would not be sent.")]
    dropped: Annotated[int, Meta(description="Their keys were closed by dropping an unknown.")]
    no_payload: Annotated[int, Meta(description="Retention took the body.")]
    already_decided: Annotated[int, Meta(description="By somebody, by a policy or by a late reply.")]


class ManyDecided(Struct, frozen=True, kw_only=True):
    """What was, or in a preview would be, done with the selected dead letters."""

    preview: Annotated[bool, Meta(description="`true`: nothing was changed.")]
    summary: Annotated[str, Meta(examples=["312 would be sent; 4 already have it; 2 are unknown."])]
    decided: Annotated[int, Meta(description="How many were, or would be, decided as asked.")]
    counts: Annotated[DeadLetterCounts, Meta(description="All that were looked at.")]
    examples: Annotated[dict[str, list[int]], Meta(description="The first few ids behind each of the `counts`.")]
    continue_after: Annotated[
        int | None, Meta(description="There are more: send this as `after` for the rest. Null: these were all.")
    ]


class Worker(Struct, frozen=True, kw_only=True):
    """One worker process."""

    id: UUID
    name: str
    state: Annotated[WorkerState, Meta(description="`unavailable` also when its heartbeat is older than the lease.")]
    heartbeat_age_seconds: float
    in_flight: int
    completed: int
    started_at: datetime


class JobPage(Struct, frozen=True, kw_only=True):
    """Some jobs, newest first; `next` and `previous` are whole URLs."""

    results: list[Job]
    next: str | None
    previous: str | None


class DeadLetterPage(Struct, frozen=True, kw_only=True):
    """Some dead letters, newest first; `next` and `previous` are whole URLs."""

    results: list[DeadLetter]
    next: str | None
    previous: str | None


class WorkerList(Struct, frozen=True, kw_only=True):
    """All workers that beat lately."""

    results: list[Worker]


UP, AWAY = "ok", "away"


class Health(Struct, frozen=True, kw_only=True):
    """Without Redis (`degraded`) jobs are still accepted and sent, more slowly; without PostgreSQL nothing is."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["ok", "degraded", "down"]})]
    database: Annotated[str, Meta(extra_json_schema={"enum": [UP, AWAY]})]
    redis: Annotated[str, Meta(extra_json_schema={"enum": [UP, AWAY]})]


class Alive(Struct, frozen=True, kw_only=True):
    """The process answers; nothing else is asked."""

    status: Annotated[str, Meta(extra_json_schema={"const": "ok"})] = "ok"


# ── From rows ─────────────────────────────────────────────────────────────────────────────────


def accepted(answer: Accepted) -> AcceptedJob:
    return AcceptedJob(id=answer.job_id, status=answer.status, location=f"/jobs/{answer.job_id}")


def job(row: models.Job) -> Job:
    return Job(
        id=row.id,
        type=row.type,
        status=Status(row.status),
        priority=Priority(row.priority),
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        run_at=row.run_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        correlation_id=row.correlation_id,
        idempotency_key=row.idempotency_key,
        dedupe_key=row.dedupe_key,
        payload=row.payload,
        result=row.result,
        last_error=_error(row.last_error),
    )


def dead_letters(rows: Iterable[models.DeadLetter]) -> list[DeadLetter]:
    """With the attempts of all their jobs, in one more query. The rows must have their `job` and `resolved_by`."""
    rows = list(rows)
    history: dict[UUID, list[Attempt]] = {row.job_id: [] for row in rows}
    for attempt in models.Attempt.objects.filter(job_id__in=history).order_by("id"):
        history[attempt.job_id].append(_attempt(attempt))
    return [_dead_letter(row, history[row.job_id]) for row in rows]


def many_decided(tally: Tally) -> ManyDecided:
    return ManyDecided(
        preview=tally.is_preview,
        summary=sentence(tally),
        decided=tally.decided,
        counts=DeadLetterCounts(**{outlook.value: tally.counts[outlook] for outlook in Outlook}),
        examples={outlook.value: tally.examples[outlook] for outlook in Outlook if tally.counts[outlook]},
        continue_after=tally.continue_after,
    )


def worker(row: Any, *, lease_seconds: float) -> Worker:
    """`row` is a Worker with `age`, its heartbeat's age by PostgreSQL's clock."""
    age = row.age.total_seconds()
    return Worker(
        id=row.id,
        name=row.name,
        state=WorkerState.UNAVAILABLE if age > lease_seconds else WorkerState(row.state),
        heartbeat_age_seconds=round(age, 3),
        in_flight=row.in_flight,
        completed=row.completed,
        started_at=row.started_at,
    )


def _dead_letter(row: models.DeadLetter, attempts: list[Attempt]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        job_id=row.job_id,
        type=row.type,
        reason=Reason(row.reason),
        error=_error(row.error),
        attempts=attempts,
        payload=row.job.payload,
        died_at=row.died_at,
        resolution=Resolution(row.resolution) if row.resolution else None,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by.get_username() if row.resolved_by else None,
        note=row.note or None,
        evidence=msgspec.convert(row.evidence, list[Evidence]),
    )


def _attempt(row: models.Attempt) -> Attempt:
    return Attempt(
        number=row.number,
        outcome=row.outcome,
        provider=row.provider,
        kind=row.kind,
        code=row.code,
        detail=row.detail,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _error(stored: dict[str, Any] | None) -> LastError | None:
    if stored is None:
        return None
    return LastError(kind=stored.get("kind"), code=stored.get("code"), detail=stored.get("detail"))
