"""The front door's writes: jobs become rows, and what was answered for a key is found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from jobs.columns import as_json
from jobs.database import single_statement
from jobs.postgres.arrays import Texts
from jobs.sql import run
from jobs.states import Status


@single_statement
def accept(
    jobs: Sequence[Mapping[str, Any]], *, owner_id: int, correlation_id: str, batch_id: UUID | None = None
) -> dict[UUID, Status]:
    """Insert jobs, each a mapping of its columns; the status of each, by id. Whose idempotency key is open already is
    missing."""
    columns = {"jobs": as_json(jobs), "owner_id": owner_id, "correlation_id": correlation_id, "batch_id": batch_id}
    return {row.id: Status(row.status) for row in run("insert_jobs", **columns)}


class FirstAnswer(NamedTuple):
    """What a job's request was answered, for whoever repeats it."""

    job_id: UUID
    fingerprint: bytes
    status: Status


@single_statement
def first_answers(keys: Sequence[str], *, owner_id: int) -> dict[str, FirstAnswer]:
    """By idempotency key, of those that are open."""
    rows = run("first_answers", owner_id=owner_id, keys=Texts(keys))
    return {row.idempotency_key: FirstAnswer(row.id, bytes(row.fingerprint), Status(row.accepted_as)) for row in rows}
