"""How jobs are named: a claimed one, which a worker holds under a token (the fence, I4), a waiting one, which nobody
holds yet, and one that its owner calls by a key."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from jobs.states import Lane


class SealedDestination(Struct, frozen=True):
    """Where a webhook or a notification goes; `sealed` is for whoever goes there (sealing.py)."""

    name: str
    kind: str
    sealed: bytes
    is_disabled: bool


class Claim(Struct, frozen=True):
    """One job under one claim token.

    `token` is new for every claim and never reused; every write about this trip names it.
    `attempt` counts from 1 and is for people and for the budget, never a fence.
    """

    job_id: UUID
    token: int
    dedupe_hash: bytes  # 16 bytes
    type: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    priority: str
    provider: str | None
    correlation_id: str
    claimed_at: datetime  # by PostgreSQL's clock, which is the only one that counts
    deaths: int = 0  # workers that died while this job may have been what killed them
    destination: SealedDestination | None = None  # as it is now, if the job names one that is there
    owner_id: int = 0
    suppressed: tuple[str, ...] = ()  # recipients that get nothing: they are on the suppression list

    @property
    def is_last_attempt(self) -> bool:
        return self.attempt >= self.max_attempts

    @property
    def is_suspect(self) -> bool:
        """It may have killed a worker: it is prepared alone (workers/quarantine.py)."""
        return self.deaths > 0

    @property
    def names(self) -> dict[str, object]:
        """What stands in lines of the log that are about it (scheduler/logs.py)."""
        return {"job_id": str(self.job_id), "correlation_id": self.correlation_id, "attempt": self.attempt}


class Waiting(NamedTuple):
    """A job that has just become `queued`: its id belongs into the Redis list of its lane and priority."""

    job_id: UUID
    priority: str
    lane: str = Lane.MESSAGES


class OwnKey(NamedTuple):
    """An idempotency key; it is its owner's alone."""

    owner_id: int
    text: str
