"""Deciding dead letters: the moves that a person makes, or a policy in a person's name.

Writes to state, like transitions.py and under the same rules: guarded statements that name the episode (the claim that
the dead letter tells of), jobs locked first, by id, then their deliveries, by hash. What was sent is never sent again
by a requeue alone: that takes an override, which is recorded with who, when and why.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from jobs.claims import Waiting
from jobs.database import move
from jobs.errors import AlreadySent, InFlight, NotFound, TooLate
from jobs.sql import run
from jobs.states import Decision, Resolution


class Outlook(StrEnum):
    """How a dead letter stands: what requeueing it would come to."""

    WOULD_SEND = "would_send"
    ALREADY_SENT = "already_sent"  # another job of its key was sent
    UNKNOWN = "unknown"  # nobody can know whether it was sent
    IN_FLIGHT = "in_flight"  # another job of its key is on its way, or undecided
    EXPIRED = "expired"  # its client wanted it sent by a time that is over
    DROPPED = "dropped"  # its key was closed by a person
    NO_PAYLOAD = "no_payload"  # retention took the body
    ALREADY_DECIDED = "already_decided"


OVERRIDABLE = frozenset({Outlook.ALREADY_SENT, Outlook.UNKNOWN})
TAKEN_BY: dict[Resolution, frozenset[Outlook]] = {  # without an override
    Resolution.REQUEUED: frozenset({Outlook.WOULD_SEND}),
    Resolution.DISCARDED: frozenset(Outlook) - {Outlook.UNKNOWN, Outlook.ALREADY_DECIDED},
    Resolution.MARK_SENT: frozenset({Outlook.UNKNOWN}),
    Resolution.SEND_AGAIN: frozenset({Outlook.UNKNOWN}),
    Resolution.DROP: frozenset({Outlook.UNKNOWN}),
}


class Look(NamedTuple):
    """One dead letter as it was found, and its job."""

    id: int
    outlook: Outlook
    job_id: UUID
    priority: str
    lane: str
    dedupe_hash: bytes
    holder: UUID | None  # the job that has the delivery of its key
    resolution: str | None


class Decided(NamedTuple):
    """What a batch of decisions found, and which of them were made."""

    looks: list[Look]
    done: set[int]

    @property
    def jobs(self) -> list[Waiting]:
        return [Waiting(one.job_id, one.priority, one.lane) for one in self.looks if one.id in self.done]

    @property
    def hashes(self) -> list[bytes]:
        return [one.dedupe_hash for one in self.looks if one.id in self.done]


# ── Many at once ──────────────────────────────────────────────────────────────────────────────


def look(dead_letters: Collection[int], *, spoken_for: Collection[bytes] = ()) -> list[Look]:
    """How these dead letters stand, by id; those that do not exist are missing.

    Of several of one key only the first would be sent, and none whose key is `spoken_for`.
    """
    looks, seen = [], set(spoken_for)
    for row in run("look_at_dead_letters", dead_letters=list(dead_letters)):
        outlook, key = Outlook(row.outlook), bytes(row.dedupe_hash)
        if outlook is Outlook.WOULD_SEND:
            outlook = Outlook.IN_FLIGHT if key in seen else outlook
            seen.add(key)
        looks.append(Look(row.id, outlook, row.job_id, row.priority, row.lane, key, row.holder, row.resolution))
    return looks


@move
def decide(
    dead_letters: Collection[int],
    resolution: Resolution,
    *,
    by: int | None,
    note: str = "",
    overrides: Collection[Outlook] = (),
    spoken_for: Collection[bytes] = (),
) -> Decided:
    """Decide those of these dead letters that can be decided so; the others stay as they are.

    `overrides`, of a requeue, also sends what was sent before (ALREADY_SENT) or may have been (UNKNOWN).
    """
    looks = _lock_and_look(dead_letters, spoken_for=spoken_for)
    found = {outlook: [one for one in looks if one.outlook is outlook] for outlook in Outlook}
    if resolution is Resolution.DISCARDED:
        takes = [one.id for one in looks if one.outlook in TAKEN_BY[resolution]]
        return Decided(looks, _write(takes, resolution, by=by, note=note))
    if resolution is not Resolution.REQUEUED:
        return Decided(looks, _resolve(found[Outlook.UNKNOWN], Decision(resolution), by=by, note=note))
    done = _requeue("requeue_jobs", found[Outlook.WOULD_SEND], resolution, by=by, note=note)
    looks = [one if one.id in done else _overtaken(one) for one in looks]
    if Outlook.ALREADY_SENT in overrides:
        done |= _requeue("override_jobs", found[Outlook.ALREADY_SENT], Resolution.OVERRIDE, by=by, note=note)
    if Outlook.UNKNOWN in overrides:
        done |= _resolve(found[Outlook.UNKNOWN], Decision.SEND_AGAIN, by=by, note=note)
    return Decided(looks, done)


def _lock_and_look(dead_letters: Collection[int], *, spoken_for: Collection[bytes] = ()) -> list[Look]:
    """Under the jobs' locks nothing but the deliveries of rivals moves any more."""
    run("lock_jobs_of_dead_letters", dead_letters=list(dead_letters))
    return look(dead_letters, spoken_for=spoken_for)


def _overtaken(one: Look) -> Look:
    """A rival took its key between the look and the requeue."""
    return one._replace(outlook=Outlook.IN_FLIGHT, holder=None) if one.outlook is Outlook.WOULD_SEND else one


def _requeue(statement: str, looks: Sequence[Look], resolution: Resolution, *, by: int | None, note: str) -> set[int]:
    rows = run(statement, dead_letters=[one.id for one in looks]) if looks else []
    return _write([row.dead_letter for row in rows], resolution, by=by, note=note)


def _resolve(
    looks: Sequence[Look],
    decision: Decision,
    *,
    by: int | None,
    note: str,
    new_budget: bool = True,
) -> set[int]:
    looks = sorted(looks, key=lambda one: one.dedupe_hash)  # the lock order of deliveries
    keys = {"hashes": [one.dedupe_hash for one in looks], "dead_letters": [one.id for one in looks]}
    rows = run("decide_deliveries", **keys, decision=decision.value) if looks else []
    if rows:
        run("decide_jobs", ids=[row.id for row in rows], decision=decision.value, new_budget=new_budget)
    return _write([row.dead_letter for row in rows], Resolution(decision), by=by, note=note)


def _write(dead_letters: Sequence[int], resolution: Resolution, *, by: int | None, note: str) -> set[int]:
    if not dead_letters:
        return set()
    rows = run("resolve_dead_letters", dead_letters=list(dead_letters), resolution=resolution.value, by=by, note=note)
    return {row.id for row in rows}


# ── One ───────────────────────────────────────────────────────────────────────────────────────


@move
def resolve(
    dead_letter: int,
    decision: Decision,
    *,
    by: int | None,
    note: str = "",
    new_budget: bool = True,
) -> tuple[bytes, Waiting]:
    """Decide an unknown, naming the episode. The key's hash (for L1, once sent) and the job.

    Raises NotFound, or TooLate when somebody, or a late reply, was first.
    """
    looks = _lock_and_look([dead_letter])
    unknown = [one for one in looks if one.outlook is Outlook.UNKNOWN]
    done = _resolve(unknown, decision, by=by, note=note, new_budget=new_budget)
    one = _the_one(Decided(looks, done), Resolution(decision))
    return one.dedupe_hash, Waiting(one.job_id, one.priority, one.lane)


@move
def requeue(dead_letter: int, *, by: int | None, note: str = "", override: bool = False) -> Waiting:
    """A dead job gets a new budget. Unknowns and dropped ones only go through `resolve` (trace 11).

    Raises AlreadySent when its key was sent, unless that is overridden; InFlight while another job has the key.
    """
    overrides = {Outlook.ALREADY_SENT} if override else ()
    decided = decide([dead_letter], Resolution.REQUEUED, by=by, note=note, overrides=overrides)
    one = _the_one(decided, Resolution.REQUEUED)
    return Waiting(one.job_id, one.priority, one.lane)


@move
def discard(dead_letter: int, *, by: int | None, note: str = "") -> None:
    """Put a dead letter aside for good; its job stays failed."""
    _the_one(decide([dead_letter], Resolution.DISCARDED, by=by, note=note), Resolution.DISCARDED)


def _the_one(decided: Decided, wanted: Resolution) -> Look:
    if not decided.looks:
        raise NotFound
    (one,) = decided.looks
    if one.id not in decided.done:
        raise _refusal(one, wanted)
    return one


def _refusal(one: Look, wanted: Resolution) -> TooLate:
    """In words that fit the dead letter as it was found."""
    if one.outlook is Outlook.ALREADY_DECIDED:
        return TooLate(f"This dead letter was decided before: {one.resolution or 'its job has moved on'}.")
    if TAKEN_BY[wanted] == {Outlook.UNKNOWN}:
        return TooLate("This dead letter is not an unknown: requeue or discard it.")
    holder = f"Job {one.holder}" if one.holder else "Another job"
    if one.outlook is Outlook.ALREADY_SENT:
        return AlreadySent(f"{holder} of the same key was sent. {AlreadySent.remedy}")
    if one.outlook is Outlook.IN_FLIGHT:
        return InFlight(f"{holder} of the same key is on its way, or undecided. {InFlight.remedy}")
    return TooLate(REFUSALS[one.outlook])


REFUSALS = {
    Outlook.UNKNOWN: "An unknown is decided through resolve: mark_sent, send_again or drop.",
    Outlook.DROPPED: "A job of the same key was dropped, which closed the key; discard this one, "
    "or send under another key.",
    Outlook.NO_PAYLOAD: "Its body has been deleted by retention, so nothing is left to send; discard this one.",
    Outlook.EXPIRED: "Its expires_at is over, so it would not be sent; discard this one, or send it as a new job.",
}
