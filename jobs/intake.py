"""The front door's road: a validated request becomes a committed row, then the bell rings (§4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import OperationalError
from uuid_utils.compat import uuid7

from jobs import acceptance, queue
from jobs.acceptance import FirstAnswer
from jobs.claims import Waiting
from jobs.conf import tunables
from jobs.database import sqlstate
from jobs.errors import KeyInFlight, KeyReused, Refused
from jobs.requests import JobRequest
from jobs.states import Status

log = structlog.get_logger(__name__)

LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a request that has its job; `is_replay` when the key had it before."""

    job_id: UUID
    status: Status  # as it was when the job was accepted
    is_replay: bool


Answer = Accepted | Refused


def accept(request: JobRequest, *, owner_id: int, correlation_id: str) -> Accepted:
    """Accept one job: a committed row first (I1), then its id in Redis, then the key in Redis.

    Raises KeyReused when the owner's key had another body, KeyInFlight when the first request with it
    has not come to an end within the patience of insert_jobs.sql.
    """
    answer = _recalled(request, owner_id=owner_id)
    if answer is None:
        (answer,) = accept_many([request], owner_id=owner_id, correlation_id=correlation_id)
    if isinstance(answer, Refused):
        raise answer
    return answer


def accept_many(
    requests: Sequence[JobRequest], *, owner_id: int, correlation_id: str, batch_id: UUID | None = None
) -> list[Answer]:
    """Accept many, each on its own, in one commit; their answers in the order given.

    What `accept` raises about one of them stands in its place here, and the others are accepted all the same.
    """
    answers: dict[int, Answer] = {}
    pending = dict(enumerate(requests))
    while pending:
        try:
            answers |= _insert(pending, owner_id=owner_id, correlation_id=correlation_id, batch_id=batch_id)
        except OperationalError as error:
            keyed = {number: KeyInFlight(retry_after=1) for number, r in pending.items() if r.options.idempotency_key}
            if sqlstate(error) != LOCK_NOT_AVAILABLE or not keyed:
                raise
            answers |= keyed
        pending = {number: request for number, request in pending.items() if number not in answers}
        # Their keys are taken. Should a window close between these two looks, the next insert succeeds.
        answers |= _replays(pending, owner_id=owner_id)
        pending = {number: request for number, request in pending.items() if number not in answers}
    return [answers[number] for number in range(len(requests))]


def _insert(pending: Mapping[int, JobRequest], *, owner_id: int, **common: Any) -> dict[int, Answer]:
    """Those that are new, as committed; then the bell."""
    ids = {number: uuid7() for number in pending}
    rows = [_row(request, job_id=ids[number], owner_id=owner_id) for number, request in pending.items()]
    statuses = acceptance.accept(rows, owner_id=owner_id, **common)
    new = {number: request for number, request in pending.items() if ids[number] in statuses}
    queue.announce(
        [Waiting(ids[n], r.options.priority) for n, r in new.items() if statuses[ids[n]] is Status.QUEUED],
        owner_id=owner_id,
        keys={r.options.idempotency_key: ids[n] for n, r in new.items() if r.options.idempotency_key},
    )
    for number, request in new.items():
        job_id = ids[number]
        log.info(
            "job_accepted", job_id=str(job_id), type=request.type, status=statuses[job_id].value, owner_id=owner_id
        )
    return {number: Accepted(ids[number], statuses[ids[number]], is_replay=False) for number in new}


def _row(request: JobRequest, *, job_id: UUID, owner_id: int) -> dict[str, Any]:
    options = request.options
    return {
        "id": job_id,
        "type": request.type,
        "priority": options.priority,
        "payload": request.payload,
        "recipients": request.recipients,
        "idempotency_key": options.idempotency_key,
        "fingerprint": request.fingerprint.hex(),
        "dedupe_key": request.dedupe_key,
        "dedupe_hash": dedupe_hash(owner_id, request.dedupe_key or str(job_id)).hex(),
        "max_attempts": options.max_attempts or tunables().max_attempts,
        "run_at": options.run_at,
        "delay_seconds": options.delay_seconds,
        "expires_at": options.expires_at,
        "on_unknown": options.on_unknown or tunables().on_unknown_of(request.type),
        "provider": options.provider,
    }


# ── The first answer again ────────────────────────────────────────────────────────────────────


def _recalled(request: JobRequest, *, owner_id: int) -> Answer | None:
    """Where Redis knows that the key has led to a job, its row is read; that spares the insert. Redis may lie: the row
    decides (PROTOCOL trace 19)."""
    key = request.options.idempotency_key
    if not key or queue.recall_key(owner_id, key) is None:
        return None
    return _replays({0: request}, owner_id=owner_id).get(0)


def _replays(taken: Mapping[int, JobRequest], *, owner_id: int) -> dict[int, Answer]:
    """The first answers of those whose keys have their jobs."""
    keys = {number: key for number, request in taken.items() if (key := request.options.idempotency_key)}
    first = acceptance.first_answers(list(keys.values()), owner_id=owner_id) if keys else {}
    return {number: _as_replay(taken[number], first[key]) for number, key in keys.items() if key in first}


def _as_replay(request: JobRequest, first: FirstAnswer) -> Answer:
    if first.fingerprint != request.fingerprint:
        return KeyReused(f"This idempotency key led to job {first.job_id} with another body; use a new key.")
    return Accepted(first.job_id, first.status, is_replay=True)


def dedupe_hash(owner_id: int, key: str) -> bytes:
    """16 bytes that stand for one owner's dedupe key."""
    return hashlib.blake2b(f"{owner_id}\0{key}".encode(), digest_size=16).digest()
