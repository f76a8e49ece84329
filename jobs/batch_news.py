"""The clock's side of batches: when all jobs of one have ended, the webhook that it names gets a job of its own.

Job and mark are one transaction, so nobody tells it twice: whoever comes second finds it told.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import structlog

from jobs import batches, intake, queue, requests
from jobs.database import move
from jobs.errors import ASK_AGAIN, Refused
from jobs.intake import Accepted
from jobs.sql import run

log = structlog.get_logger(__name__)

EVENT = "batch.completed"


class PutOff(Exception):
    """This batch cannot be told now; another's turn."""

    def __init__(self, batch_id: UUID) -> None:
        super().__init__(batch_id)
        self.batch_id = batch_id


@move
def tell(*, but: Collection[UUID] = ()) -> UUID | None:
    """Tell the oldest batch that has come to its end, `but` these; None: there is no other. Raises PutOff."""
    found = run("batch_to_tell", but=list(but))
    if not found:
        return None
    row = found[0]
    answer = _accept(row)
    if isinstance(answer, ASK_AGAIN):
        raise PutOff(row.id)
    job_id, because = (None, answer.detail) if isinstance(answer, Refused) else (answer.job_id, None)
    if because:
        log.warning("batch_not_told", batch_id=str(row.id), because=because)
    run("batch_told", id=row.id, job_id=job_id, because=because)
    return UUID(str(row.id))


def _accept(row: Any) -> Accepted | Refused:
    """The webhook's job, which is like any other: tried again, dead-lettered, told once."""
    batch, counts = batches.standing(row.id, owner_id=row.owner_id)
    data = batches.as_told(batch, counts)
    body = {"type": "webhook", "payload": {"destination": row.webhook, "event": EVENT, "data": data}}
    try:
        request = requests.read(body, idempotency_key=f"batch:{row.id}")
    except Refused as refusal:
        return refusal
    (answer,) = intake.accept_many(
        [request], owner_id=row.owner_id, correlation_id=f"batch-{row.id}", bell=queue.announce_after_commit
    )
    return answer
