"""The clock's moves: what waits is called when it is due, and what has had its time goes.

Writes to state, under the same rules as transitions.py. Each is a small batch, and safe to run twice at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from jobs.claims import Waiting
from jobs.columns import bury
from jobs.database import move
from jobs.sql import run
from jobs.states import Lane, Reason


@move
def promote(*, limit: int) -> list[Waiting]:
    """Scheduled and due → queued."""
    return [Waiting(row.id, row.priority, row.lane) for row in run("promote", limit=limit)]


@move
def find_lost(
    priority: str, *, head: Sequence[UUID], grace_seconds: float, limit: int, lane: Lane = Lane.MESSAGES
) -> list[Waiting]:
    """Queued jobs older than what waits at the `head` of their list (empty: older than now): push them again."""
    rows = run("repush", lane=lane, priority=priority, head=list(head), grace=grace_seconds, limit=limit)
    return [Waiting(row.id, row.priority, row.lane) for row in rows]


@move
def wake_held(*, limit: int) -> list[Waiting]:
    """Held jobs whose key was decided → queued; those whose key was dropped → dead letters."""
    bury([(row.id, row.claim, Reason.DROPPED) for row in run("bury_held", limit=limit)])
    return [Waiting(row.id, row.priority, row.lane) for row in run("wake_held", limit=limit)]


@move
def policy_due(
    *, patience_seconds: float, limit: int, askable: Collection[str] = (), asking_seconds: float = 0.0
) -> list[tuple[int, str]]:
    """(dead letter, on_unknown) of unknowns that their job's policy may decide now.

    Providers that are `askable` are asked once more first, which may take `asking_seconds` beyond the patience.
    """
    waits = {"patience": patience_seconds, "askable": list(askable), "asking": asking_seconds}
    return [(row.id, row.on_unknown) for row in run("policy_due", **waits, limit=limit)]


@move
def prune(name: str, **limits: int) -> int:
    """One small batch of retention: `keys`, `bodies`, `jobs` or `workers`. How many rows went."""
    return len(run(f"prune_{name}", **limits))
