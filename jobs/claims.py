"""A claimed job, which a worker holds under a token (the fence, I4), and a waiting one, which nobody holds yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Claim:
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

    @property
    def is_last_attempt(self) -> bool:
        return self.attempt >= self.max_attempts


class Waiting(NamedTuple):
    """A job that has just become `queued`: its id belongs into the Redis list of its priority."""

    job_id: UUID
    priority: str
