"""How one claim ended, and what the other side said: the shape that goes from a worker to the settlement."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import Struct

from jobs.claims import Claim
from jobs.states import Outcome, Reason, Resolution

LONGEST_DETAIL = 500
GONE = "gone"  # the kind of an error whose receiver wants no more, ever (HTTP 410): its destination is disabled
REFUSALS = frozenset({Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.INVALID, Outcome.SUPPRESSED})
REASONS = {
    Outcome.PERMANENT: Reason.PERMANENT,
    Outcome.INVALID: Reason.INVALID,
    Outcome.SUPPRESSED: Reason.SUPPRESSED,
}


class Settlement(Struct, frozen=True):
    """How one claim ended, and what the other side said."""

    claim: Claim
    outcome: Outcome
    worker: UUID | None
    marked: bool = True  # whether the dot mark had been committed
    wait_seconds: float = 0.0  # before the next attempt, if there is one
    provider: str | None = None
    kind: str | None = None
    code: int | None = None
    detail: str = ""
    took_seconds: float = 0.0
    result: dict[str, Any] = {}
    closes_as: Resolution = Resolution.LATE_REPLY  # what it makes of the claim's open unknown, if there is one

    @property
    def is_answer(self) -> bool:
        """The other side has said what became of the message."""
        return self.marked and self.outcome is not Outcome.UNKNOWN

    @property
    def is_final(self) -> bool:
        return self.outcome is not Outcome.TRANSIENT or self.claim.is_last_attempt

    @property
    def reason(self) -> Reason:
        return REASONS.get(self.outcome, Reason.EXHAUSTED)

    @property
    def error(self) -> dict[str, Any]:
        return {"kind": self.kind, "code": self.code, "detail": self.detail}

    @property
    def names(self) -> dict[str, object]:
        """What stands in lines of the log that are about it (scheduler/logs.py)."""
        return {
            **self.claim.names,
            "worker_id": str(self.worker),
            "outcome": self.outcome.value,
            "provider": self.provider,
            "reason": self.kind,
            "code": self.code,
            "ms": round(self.took_seconds * 1000, 1),
        }


def clean(text: str) -> str:
    """Somebody else's words, fit for a row and a log: no control characters, no half characters, bounded."""
    if text.isascii() and text.isprintable():
        return text[:LONGEST_DETAIL]
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in whole)[:LONGEST_DETAIL]
