"""Taking running jobs back: from workers that are silent, and from a worker that does not know them.

Writes to state, under the same rules as transitions.py. Both run the same three steps, in separate statements
(PROTOCOL trace 2): lock the jobs, move their deliveries, then move the jobs by what the deliveries returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.claims import Waiting
from jobs.columns import as_json, bury
from jobs.database import move
from jobs.sql import run
from jobs.states import DeliveryState, Outcome, Reason, Status

MARKED = "The worker died or lost track of the job after the dot mark: the message may or may not have gone out."
POISON = "Too many workers died while holding this job."
UNMARKED = "The worker died or lost track of the job before the dot mark: nothing was sent."


@dataclass(frozen=True, slots=True)
class Rescue:
    """What a rescue did; `waiting` are to be pushed."""

    waiting: list[Waiting] = field(default_factory=list)
    unknown: int = 0
    dead: int = 0

    def __len__(self) -> int:
        return len(self.waiting) + self.unknown + self.dead


@move
def rescue(workers: Collection[UUID], *, lease_seconds: float, poison_deaths: int, limit: int) -> Rescue:
    """Take running jobs from workers that are silent for a lease. Unmarked → queued; marked → unknown.

    A job that may have killed its worker is suspect, and tried alone from then on; `poison_deaths` such deaths, or
    as many lost trips beyond its attempts, set it aside.
    """
    held = run("lock_held_by_silent", workers=list(workers), lease=lease_seconds, limit=limit)
    return _give_back(held, poison_deaths=poison_deaths)


@move
def sweep(worker: UUID, tokens: Collection[int]) -> Rescue:
    """Give back a living worker's own running jobs whose claims it does not know (trace 6).

    Those that never came to the gate have cost no attempt: nobody but PostgreSQL has held them.
    """
    return _give_back(run("lock_own_unknown", worker=worker, claims=list(tokens)), poison_deaths=None)


@move
def own_running(worker: UUID) -> set[int]:
    """The tokens that PostgreSQL says this worker holds."""
    return {row.claim for row in run("own_running", worker=worker)}


@move
def holding_workers() -> dict[UUID, datetime | None]:
    """The workers that hold running jobs, with their last heartbeat (None: their row is gone)."""
    return {row.worker: row.beat_at for row in run("holding_workers")}


def _give_back(held: Sequence[Any], *, poison_deaths: int | None) -> Rescue:
    """Steps 2 and 3 of a rescue: deliveries, in a statement after the lock, then jobs by what those returned.

    `poison_deaths` is None where nobody died.
    """
    if not held:
        return Rescue()
    held = sorted(held, key=lambda row: bytes(row.dedupe_hash))  # the lock order of deliveries
    poisonous = {row.claim for row in held if poison_deaths is not None and _is_poison(row, poison_deaths)}
    rows = run(
        "rescue_deliveries",
        hashes=[row.dedupe_hash for row in held],
        claims=[row.claim for row in held],
        doubtful_ends=[row.in_doubt and row.claim in poisonous for row in held],
    )
    state = {row.claim: row.state for row in rows}
    blamed = _blamed(held, state) if poison_deaths is not None else set()
    untouched = _untouched(held, state) if poison_deaths is not None else _never_gated(held, state)
    ends = poisonous - untouched
    after = {row.claim: _after_rescue(row, state.get(row.claim), row.claim in ends) for row in held}
    moved = run(
        "rescue_jobs",
        ids=[row.id for row in held],
        claims=[row.claim for row in held],
        statuses=[after[row.claim].value for row in held],
        errors=[as_json(ERRORS.get(after[row.claim])) for row in held],
        deaths=[int(row.claim in blamed) for row in held],
        unspent=[int(row.claim in untouched) for row in held],
    )
    by_token = {row.claim: row for row in held}
    touched = [row.claim for row in moved if row.claim not in untouched]
    run("insert_attempts", **_history([(by_token[token], state.get(token)) for token in touched]))
    ended = {Status.UNKNOWN: Reason.UNKNOWN, Status.FAILED: Reason.WORKER_LOST}
    bury([(row.id, row.claim, ended[Status(row.status)]) for row in moved if Status(row.status) in ended])
    waiting = [Waiting(row.id, row.priority, row.lane) for row in moved if row.status == Status.QUEUED]
    unknown = sum(row.status == Status.UNKNOWN for row in moved)
    return Rescue(waiting=waiting, unknown=unknown, dead=len(moved) - len(waiting) - unknown)


def _is_poison(row: Any, poison_deaths: int) -> bool:
    """Unless it was untouched. Killing in its preparation shows soon, for a suspect is tried alone; whatever else takes
    worker after worker down, before that or long after, must come to an end, too."""
    return row.deaths + 1 >= poison_deaths or row.attempts >= row.max_attempts + poison_deaths


def _blamed(held: Sequence[Any], state: Mapping[int, str]) -> set[int]:
    """The claims of jobs that may have killed their worker: past the gate, and not marked.

    What was marked had been prepared. What waited before the gate can only have been it if it was all its worker held.
    """
    hands = Counter(row.worker for row in held)
    return {
        row.claim
        for row in held
        if state.get(row.claim) == DeliveryState.RELEASED or (row.claim not in state and hands[row.worker] == 1)
    }


def _never_gated(held: Sequence[Any], state: Mapping[int, str]) -> set[int]:
    return {row.claim for row in held if row.claim not in state}


def _untouched(held: Sequence[Any], state: Mapping[int, str]) -> set[int]:
    """The claims of jobs that waited before the gate while their worker was busy with others: no attempt of theirs."""
    busy = {row.worker for row in held if row.claim in state}
    never_gated = _never_gated(held, state)
    return {row.claim for row in held if row.claim in never_gated and row.worker in busy}


ERRORS: dict[Status, dict[str, Any]] = {
    Status.UNKNOWN: {"kind": "worker_lost", "code": None, "detail": MARKED},
    Status.FAILED: {"kind": "worker_lost", "code": None, "detail": POISON},
}


def _after_rescue(row: Any, delivery_state: str | None, is_poison: bool) -> Status:
    if delivery_state == DeliveryState.UNKNOWN:
        return Status.UNKNOWN
    if is_poison and not row.in_doubt:
        return Status.FAILED
    return Status.QUEUED


def _history(rows: Sequence[tuple[Any, str | None]]) -> dict[str, list[Any]]:
    unknown = [state == DeliveryState.UNKNOWN for _, state in rows]
    return {
        "ids": [row.id for row, _ in rows],
        "claims": [row.claim for row, _ in rows],
        "numbers": [row.attempts for row, _ in rows],
        "workers": [row.worker for row, _ in rows],
        "providers": [None] * len(rows),
        "outcomes": [Outcome.UNKNOWN.value if is_unknown else Outcome.LOST.value for is_unknown in unknown],
        "kinds": ["worker_lost"] * len(rows),
        "codes": [None] * len(rows),
        "details": [MARKED if is_unknown else UNMARKED for is_unknown in unknown],
        "tooks": [None] * len(rows),
    }
