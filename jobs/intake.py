"""The front door's road: a validated request becomes a committed row, then the bell rings (§4.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import OperationalError
from uuid_utils.compat import uuid7

from jobs import queue, transitions
from jobs.claims import Waiting
from jobs.conf import tunables
from jobs.database import sqlstate
from jobs.errors import KeyInFlight, KeyReused
from jobs.models import Job
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


def accept(request: JobRequest, *, owner_id: int, correlation_id: str) -> Accepted:
    """Accept one job: a committed row first (I1), then its id in Redis, then the key in Redis.

    Raises KeyReused when the owner's key had another body, KeyInFlight when the first request with it
    has not come to an end within the patience of insert_job.sql.
    """
    key = request.options.idempotency_key
    known = queue.recall_key(owner_id, key) if key else None
    replay = _replay(request, owner_id=owner_id, job_id=known) if known else None
    return replay or _accept_new(request, owner_id=owner_id, correlation_id=correlation_id)


def _accept_new(request: JobRequest, *, owner_id: int, correlation_id: str) -> Accepted:
    options = request.options
    job_id = uuid7()
    while not (row := _insert(request, job_id=job_id, owner_id=owner_id, correlation_id=correlation_id)):
        # The key is taken. Should its window close between these two looks, the next insert succeeds.
        if replay := _replay(request, owner_id=owner_id):
            return replay
    status = Status(row.status)
    if status is Status.QUEUED:
        queue.push([Waiting(job_id, options.priority)])
    if options.idempotency_key:
        queue.remember_key(owner_id, options.idempotency_key, job_id)
    log.info("job_accepted", job_id=str(job_id), type=request.type, status=status.value, owner_id=owner_id)
    return Accepted(job_id, status, is_replay=False)


def _insert(request: JobRequest, *, job_id: UUID, owner_id: int, correlation_id: str) -> Any | None:
    try:
        return _insert_row(request, job_id=job_id, owner_id=owner_id, correlation_id=correlation_id)
    except OperationalError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE and request.options.idempotency_key:
            raise KeyInFlight(retry_after=1) from None
        raise


def _insert_row(request: JobRequest, *, job_id: UUID, owner_id: int, correlation_id: str) -> Any:
    options = request.options
    return transitions.accept(
        id=job_id,
        owner_id=owner_id,
        type=request.type,
        priority=options.priority.value,
        payload=request.payload,
        recipients=request.recipients,
        correlation_id=correlation_id,
        idempotency_key=options.idempotency_key,
        fingerprint=request.fingerprint,
        dedupe_key=request.dedupe_key,
        dedupe_hash=dedupe_hash(owner_id, request.dedupe_key or str(job_id)),
        max_attempts=options.max_attempts or tunables().max_attempts,
        run_at=options.run_at,
        delay_seconds=options.delay_seconds,
        expires_at=options.expires_at,
        on_unknown=(options.on_unknown or tunables().on_unknown_of(request.type)).value,
        provider=options.provider,
    )


def _replay(request: JobRequest, *, owner_id: int, job_id: UUID | None = None) -> Accepted | None:
    """The first answer again, read from the row itself; None when there is no such row (any more)."""
    mine = Job.objects.filter(owner_id=owner_id, idempotency_key=request.options.idempotency_key, idempotency_open=True)
    job = (mine.filter(id=job_id) if job_id else mine).only("id", "fingerprint", "accepted_as").first()
    if job is None:
        return None
    if bytes(job.fingerprint) != request.fingerprint:
        raise KeyReused(f"This idempotency key led to job {job.id} with another body; use a new key.")
    return Accepted(job.id, Status(job.accepted_as), is_replay=True)


def dedupe_hash(owner_id: int, key: str) -> bytes:
    """16 bytes that stand for one owner's dedupe key."""
    return hashlib.blake2b(f"{owner_id}\0{key}".encode(), digest_size=16).digest()
