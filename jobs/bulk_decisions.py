"""Deciding many dead letters at once (a redrive, when they are requeued): first what it would come to, then doing it.

Both look at the same selection in the same batches. Each batch is one transaction of its own and decides every row
anew by its guard, so whatever happens between the preview and the decision, or between two batches, is seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.db.models import QuerySet

from jobs import queue, resolutions
from jobs.models import DeadLetter
from jobs.resolutions import TAKEN_BY, Look, Outlook
from jobs.states import Resolution

log = structlog.get_logger(__name__)

BATCH = 500
MOST_AT_ONCE = 10_000  # dead letters per call, so that each ends within seconds
EXAMPLES = 5
SENDS = frozenset({Resolution.REQUEUED, Resolution.SEND_AGAIN})


@dataclass(slots=True)
class Tally:
    """What a decision came to, or would come to: how many dead letters it takes and leaves, by how they stand."""

    resolution: Resolution
    is_preview: bool
    taken: Counter[Outlook] = field(default_factory=Counter)
    left: Counter[Outlook] = field(default_factory=Counter)
    examples: dict[Outlook, list[int]] = field(default_factory=lambda: defaultdict(list))  # the first few ids
    continue_after: int | None = None  # the last id that was looked at, when there are more behind it

    @property
    def decided(self) -> int:
        return self.taken.total()

    @property
    def counts(self) -> Counter[Outlook]:
        return self.taken + self.left

    def add(self, looks: Collection[Look], taken: Collection[int]) -> None:
        for one in looks:
            (self.taken if one.id in taken else self.left)[one.outlook] += 1
            if len(self.examples[one.outlook]) < EXAMPLES:
                self.examples[one.outlook].append(one.id)


def preview(
    selected: QuerySet[DeadLetter], resolution: Resolution, *, overrides: Collection[Outlook] = (), after: int = 0
) -> Tally:
    """What `decide` would do with these dead letters as they stand. Locks and changes nothing."""
    tally = Tally(resolution, is_preview=True)
    takes = TAKEN_BY[resolution].union(overrides)
    spoken_for: set[bytes] = set()
    for ids in _batches(selected, after, tally):
        looks = resolutions.look(ids, spoken_for=spoken_for)
        spoken_for.update(one.dedupe_hash for one in looks if one.outlook is Outlook.WOULD_SEND)
        tally.add(looks, {one.id for one in looks if one.outlook in takes})
    return tally


def decide(
    selected: QuerySet[DeadLetter],
    resolution: Resolution,
    *,
    by: int,
    note: str = "",
    overrides: Collection[Outlook] = (),
    after: int = 0,
) -> Tally:
    """Decide those that can be decided so, oldest first, and say what was really done with each.

    `overrides` (from resolutions.OVERRIDABLE; of a requeue, with a note): send these too. No more than MOST_AT_ONCE
    are looked at; `continue_after` of the answer is the `after` of the call for the rest.
    """
    tally = Tally(resolution, is_preview=False)
    how: dict[str, Any] = {"by": by, "note": note, "overrides": overrides}
    spoken_for: set[bytes] = set()
    for ids in _batches(selected, after, tally):
        decided = resolutions.decide(ids, resolution, spoken_for=spoken_for, **how)
        _tell_redis(resolution, decided)
        spoken_for.update(decided.hashes)
        tally.add(decided.looks, decided.done)
    counts = {outlook.value: count for outlook, count in tally.counts.items()}
    log.info("dead_letters_decided", resolution=resolution.value, by=by, decided=tally.decided, **counts)
    return tally


def _tell_redis(resolution: Resolution, decided: resolutions.Decided) -> None:
    if resolution in SENDS:
        queue.push(decided.jobs)
    elif resolution is Resolution.MARK_SENT:
        queue.remember_sent(decided.hashes)


def _batches(selected: QuerySet[DeadLetter], after: int, tally: Tally) -> Iterator[list[int]]:
    """The ids behind `after`, oldest first. By key, not by offset: what is decided leaves most selections."""
    ids = selected.order_by("id").values_list("id", flat=True)
    for _ in range(MOST_AT_ONCE // BATCH):
        batch = list(ids.filter(id__gt=after)[:BATCH])
        if not batch:
            return
        yield batch
        after = batch[-1]
    if ids.filter(id__gt=after).exists():
        tally.continue_after = after


# ── In words ──────────────────────────────────────────────────────────────────────────────────

TAKEN = {  # would be …, … now
    Resolution.REQUEUED: ("would be sent", "queued to be sent"),
    Resolution.DISCARDED: ("would be discarded", "discarded"),
    Resolution.MARK_SENT: ("would be marked sent", "marked sent"),
    Resolution.SEND_AGAIN: ("would be sent again", "queued to be sent again"),
    Resolution.DROP: ("would be dropped", "dropped"),
}
LEFT = {  # of one, of several
    Outlook.WOULD_SEND: ("is not unknown", "are not unknown"),
    Outlook.ALREADY_SENT: ("already has it", "already have it"),
    Outlook.UNKNOWN: ("is unknown", "are unknown"),
    Outlook.IN_FLIGHT: ("waits for another job of its key", "wait for other jobs of their keys"),
    Outlook.EXPIRED: ("has expired", "have expired"),
    Outlook.DROPPED: ("has a key that was dropped", "have keys that were dropped"),
    Outlook.NO_PAYLOAD: ("has no body any more", "have no body any more"),
    Outlook.ALREADY_DECIDED: ("was decided before", "were decided before"),
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of the answer: so many dead letters, and what becomes of them."""

    count: int
    words: str
    is_taken: bool
    ids: list[int]  # the first few

    def __str__(self) -> str:
        return f"{self.count or 'Nothing'} {self.words}"


def sentence(tally: Tally) -> str:
    """For people: "312 would be sent; 4 already have it; 2 are unknown."."""
    return "; ".join(map(str, clauses(tally))) + "."


def clauses(tally: Tally) -> Iterator[Clause]:
    """What is taken first, then what is taken by an override, then what is left and why."""
    plain = TAKEN_BY[tally.resolution]
    overridden = [outlook for outlook in Outlook if tally.taken[outlook] and outlook not in plain]
    if not overridden or any(tally.taken[outlook] for outlook in plain):
        words = TAKEN[tally.resolution][0 if tally.is_preview else 1]
        yield _clause(tally, plain, tally.taken, (words, words), is_taken=True)
    for outlook in overridden:
        again = " and would be sent once more" if tally.is_preview else ": queued to be sent once more"
        yield _clause(tally, [outlook], tally.taken, [verb + again for verb in LEFT[outlook]], is_taken=True)
    for reasons in _told_together(tally.resolution):
        if any(tally.left[outlook] for outlook in reasons):
            yield _clause(tally, reasons, tally.left, LEFT[reasons[0]], is_taken=False)


def _told_together(resolution: Resolution) -> list[list[Outlook]]:
    """Where only unknowns can be decided, it does not matter in which other way a dead letter stands."""
    if TAKEN_BY[resolution] != {Outlook.UNKNOWN}:
        return [[outlook] for outlook in Outlook]
    apart = [Outlook.UNKNOWN, Outlook.ALREADY_DECIDED]
    return [[outlook for outlook in Outlook if outlook not in apart], *([outlook] for outlook in apart)]


def _clause(
    tally: Tally, outlooks: Collection[Outlook], counts: Counter[Outlook], words: Sequence[str], *, is_taken: bool
) -> Clause:
    count = sum(counts[outlook] for outlook in outlooks)
    ids = sorted(id for outlook in outlooks if counts[outlook] for id in tally.examples[outlook])
    return Clause(count, words[0] if count == 1 else words[1], is_taken, ids[:EXAMPLES])
