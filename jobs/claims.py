"""A claimed job: what a worker holds while it carries a job out. The token is the fence (I4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
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
