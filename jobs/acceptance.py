"""The front door's writes: jobs become rows, and what was answered for a key is found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from jobs.claims import OwnKey
from jobs.columns import as_json
from jobs.database import single_statement
from jobs.postgres.arrays import Integers, Texts
from jobs.sql import run
from jobs.states import Status


@single_statement
def accept(
    jobs: Sequence[Mapping[str, Any] | msgspec.Raw], *, batch_id: UUID | None = None, patience_seconds: float = 2.0
) -> dict[UUID, Status]:
    """Insert jobs, each a mapping of its columns, or that as JSON; the status of each, by id. Whose idempotency key is
    open already is missing."""
    patience = f"{patience_seconds * 1000:.0f}ms"
    rows = run("insert_jobs", jobs=as_json(jobs), batch_id=batch_id, patience=patience)
    return {row.id: Status(row.status) for row in rows}


class FirstAnswer(NamedTuple):
    """What a job's request was answered, for whoever repeats it."""

    job_id: UUID
    fingerprint: bytes
    status: Status


@single_statement
def first_answers(keys: Sequence[OwnKey]) -> dict[OwnKey, FirstAnswer]:
    """By key, of those that are open."""
    owners, texts = Integers(key.owner_id for key in keys), Texts(key.text for key in keys)
    return {
        OwnKey(row.owner_id, row.idempotency_key): FirstAnswer(row.id, bytes(row.fingerprint), Status(row.accepted_as))
        for row in run("first_answers", owners=owners, keys=texts)
    }
