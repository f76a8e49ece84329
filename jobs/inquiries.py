"""Asking providers about unknowns: which are due to be asked about, and what is done with an answer.

Writes to state, under the same rules as transitions.py. An answer that settles the matter goes the way of a late reply,
through `transitions.settle` and its guards; one that does not is only noted on the dead letter. Nobody is asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs import transitions
from jobs.claims import Claim
from jobs.columns import as_claim
from jobs.database import move
from jobs.settlements import Settlement
from jobs.sql import run
from jobs.states import Outcome, Resolution, Status


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One unknown that its provider is to be asked about, now."""

    dead_letter: int
    claim: Claim
    provider: str
    is_dot_over: bool  # marked so long ago that no worker can still write this dot: a "no" stays a no
    asked_at: datetime  # PostgreSQL's


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider's book says; both texts are fit for a row."""

    source: str
    accepted: bool | None  # None: it cannot say
    detail: str
    answered: bool = True  # False: nobody was there to say anything


# When the patience is over a provider is asked until it answers. A policy that waits for that has waited enough when it
# does not, or when the unknown stands too far back in the line of questions.
AGAIN_SECONDS, ASKING_SECONDS = 60.0, 600.0


@move
def claim_due(provider: str, *, waits: Sequence[float], patience_seconds: float, limit: int) -> list[Inquiry]:
    """Unknowns to ask this provider about. `waits` are seconds: from burial to the first question, to the next, …"""
    periods = {"patience": patience_seconds, "again": AGAIN_SECONDS, "asking": ASKING_SECONDS}
    rows = run("claim_inquiries", provider=provider, waits=list(waits), **periods, limit=limit)
    return [Inquiry(row.dead_letter, as_claim(row), provider, row.is_dot_over, row.asked_at) for row in rows]


@move
def conclude(inquiry: Inquiry, answer: Answer, *, wait_seconds: float, message_id: str | None = None) -> Status | None:
    """Note the answer, and settle by it what it settles: the job's new status, or None when nothing moved.

    Yes: sent, as by a late 2xx. No, once the dot is over: as by a late 4xx, to be tried again in `wait_seconds`.
    """
    status = None
    if outcome := _outcome(inquiry, answer):
        settlement = Settlement(
            claim=inquiry.claim,
            outcome=outcome,
            worker=None,
            wait_seconds=wait_seconds,
            provider=inquiry.provider,
            kind="evidence",
            detail=f"{answer.source}: {answer.detail}",
            result={
                "message_id": message_id,
                "provider": inquiry.provider,
                "evidence": f"{answer.source}: {answer.detail}",
            },
            closes_as=Resolution.EVIDENCE,
        )
        status = transitions.settle([settlement]).get(inquiry.claim.token)
    # After the settlement: dead letters are locked last.
    run(
        "note_evidence",
        dead_letter=inquiry.dead_letter,
        asked_at=inquiry.asked_at,
        answered=answer.answered,
        source=answer.source,
        accepted=answer.accepted,
        detail=answer.detail,
    )
    return status


def _outcome(inquiry: Inquiry, answer: Answer) -> Outcome | None:
    if answer.accepted:
        return Outcome.SENT
    return Outcome.TRANSIENT if answer.accepted is False and inquiry.is_dot_over else None
