"""What the API answers about batches: encoded as it stands, and described in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from jobs import batches, models
from jobs.api.problems import Problem, of_refusal
from jobs.errors import Refused
from jobs.intake import Answer
from jobs.states import Status


class BatchItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one job of a batch: `id` and `status`, or `error`."""

    index: Annotated[int, Meta(description="Its place in `jobs`, from 0.")]
    id: UUID | None = None
    status: Annotated[Status | None, Meta(description="`queued`, or `scheduled` when it is due later.")] = None
    replayed: Annotated[bool, Meta(description="Its idempotency key had this job before; nothing is sent for it.")] = (
        False
    )
    error: Problem | None = None


class AcceptedBatch(Struct, frozen=True, kw_only=True):
    """Each job was accepted or refused on its own; those that were accepted are committed rows."""

    id: Annotated[UUID, Meta(description="GET /batches/{id} tells how its jobs stand.")]
    accepted: int
    rejected: int
    results: Annotated[list[BatchItem], Meta(description="One for each job, in the order given.")]


class BatchWebhook(Struct, frozen=True, kw_only=True):
    """Who is told of a batch's end."""

    destination: str
    told_at: Annotated[datetime | None, Meta(description="When its job was made, or could not be.")]
    job_id: Annotated[UUID | None, Meta(description="That job, of type `webhook`.")]
    error: Annotated[str | None, Meta(description="Why there is none.")]


class Batch(Struct, frozen=True, kw_only=True):
    """How the jobs of one batch stand."""

    id: UUID
    created_at: datetime
    accepted: int
    rejected: int
    jobs: Annotated[
        dict[str, int], Meta(description="Its new jobs, by status; those of an earlier call are not among them.")
    ]
    is_final: Annotated[bool, Meta(description="All of them have come to a final state.")]
    webhook: Annotated[BatchWebhook | None, Meta(description="Who is told then; null: nobody.")]


# ── From rows ─────────────────────────────────────────────────────────────────────────────────


def batch_item(index: int, answer: Answer) -> BatchItem:
    if isinstance(answer, Refused):
        return BatchItem(index=index, error=of_refusal(answer))
    return BatchItem(index=index, id=answer.job_id, status=answer.status, replayed=answer.is_replay)


def accepted_batch(row: models.Batch, answers: Iterable[Answer]) -> AcceptedBatch:
    results = [batch_item(index, answer) for index, answer in enumerate(answers)]
    return AcceptedBatch(id=row.id, accepted=row.accepted, rejected=row.rejected, results=results)


def batch(row: models.Batch, counts: Mapping[Status, int]) -> Batch:
    return Batch(**batches.as_told(row, counts), webhook=_webhook(row))


def _webhook(row: models.Batch) -> BatchWebhook | None:
    if row.webhook is None:
        return None
    return BatchWebhook(destination=row.webhook, told_at=row.told_at, job_id=row.told_by, error=row.untold_because)
