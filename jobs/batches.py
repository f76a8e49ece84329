"""Batches: jobs that come in one call, each accepted or refused on its own, and how they stand together later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from jobs import destinations, intake
from jobs.errors import InvalidRequest, NotFound, Refused
from jobs.intake import Answer
from jobs.models import Batch, Job
from jobs.requests import JobRequest
from jobs.states import FINAL, DestinationKind, Status

MOST = 1_000  # jobs


def accept(
    items: Sequence[JobRequest | Refused], *, owner_id: int, correlation_id: str, webhook: str | None = None
) -> tuple[Batch, list[Answer]]:
    """Accept what can be accepted; the answers in the order of the items, of which some may be refused already.

    `webhook` names a destination that is told when all of them have ended. Raises InvalidRequest when there is none.
    """
    if webhook is not None and (refusal := destinations.misnamed(webhook, DestinationKind.WEBHOOK, owner_id=owner_id)):
        raise InvalidRequest.field("webhook", refusal)
    batch_id = uuid7()
    wanted = [item for item in items if isinstance(item, JobRequest)]
    accepted = iter(intake.accept_many(wanted, owner_id=owner_id, correlation_id=correlation_id, batch_id=batch_id))
    answers: list[Answer] = [next(accepted) if isinstance(item, JobRequest) else item for item in items]
    rejected = sum(isinstance(answer, Refused) for answer in answers)
    batch = Batch.objects.create(
        id=batch_id,
        owner_id=owner_id,
        accepted=len(answers) - rejected,
        rejected=rejected,
        created_at=Now(),
        webhook=webhook,
    )
    return batch, answers


def standing(batch_id: UUID, *, owner_id: int) -> tuple[Batch, dict[Status, int]]:
    """The batch, and how many of its jobs have which status. Raises NotFound."""
    batch = Batch.objects.filter(id=batch_id, owner_id=owner_id).first()
    if batch is None:
        raise NotFound
    rows = Job.objects.filter(batch_id=batch_id).order_by().values_list("status").annotate(count=Count("*"))
    return batch, Counter({Status(status): count for status, count in rows})


def as_told(batch: Batch, counts: Mapping[Status, int]) -> dict[str, Any]:
    """What a webhook is told of it, and clients read."""
    return {
        "id": batch.id,
        "created_at": batch.created_at,
        "accepted": batch.accepted,
        "rejected": batch.rejected,
        "jobs": {status.value: count for status, count in counts.items()},
        "is_final": FINAL.issuperset(counts),
    }
