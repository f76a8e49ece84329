"""What the recorder is asked for, and how a group of it is committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from jobs import transitions
from jobs.claims import Claim
from jobs.database import move
from jobs.settlements import Settlement
from jobs.states import Status


@dataclass(frozen=True, slots=True)
class Mark:
    """Commit the dot mark."""

    claim: Claim
    provider: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """Give the job back without spending an attempt. `unmark` when a mark may have been committed."""

    claim: Claim
    wait_seconds: float
    unmark: bool = False


@dataclass(frozen=True, slots=True)
class Acquittal:
    """A suspect was prepared without harm."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class PassedOn:
    """This provider provably did not take it, and another is tried."""

    refusal: Settlement

    @property
    def claim(self) -> Claim:
        return self.refusal.claim


Request = Mark | PutBack | Acquittal | PassedOn | Settlement
MIDWAY = Mark | Acquittal | PassedOn  # after these the trip goes on
Entry = tuple[Request, "asyncio.Future[None] | None"]  # the future of whoever waits for the answer


@dataclass(slots=True)
class Group:
    """What is committed together, by kind. Settlements lock jobs, marks only deliveries: so they go first."""

    entries: Sequence[Entry]
    settled: dict[int, Status] = field(default_factory=dict)
    still_ours: set[int] = field(default_factory=set)  # marked, acquitted, or without their mark again

    def commit(self) -> None:
        """One transaction for all; `settled` and `still_ours` say afterwards which tokens really moved."""
        self.settled, self.still_ours = move(self._write)()

    def _write(self) -> tuple[dict[int, Status], set[int]]:
        settlements = [r for r, _ in self.entries if isinstance(r, Settlement)]
        put_backs = [r for r, _ in self.entries if isinstance(r, PutBack) and not r.unmark]
        unmarks = [r for r, _ in self.entries if isinstance(r, PutBack) and r.unmark]
        marks = [(r.claim, r.provider) for r, _ in self.entries if isinstance(r, Mark)]
        acquittals = [r.claim for r, _ in self.entries if isinstance(r, Acquittal)]
        unmarked = [r.refusal for r, _ in self.entries if isinstance(r, PassedOn) and not r.refusal.marked]
        passed_on = [r.refusal for r, _ in self.entries if isinstance(r, PassedOn) and r.refusal.marked]
        if unmarked:
            transitions.pass_on(unmarked)  # history only, and in the order in which they were asked
        if put_backs or unmarks or acquittals:  # they share a transaction: all jobs first; settle alone locks its own
            transitions.lock_jobs([r.claim for r, _ in self.entries if not isinstance(r, Mark | PassedOn)])
        settled = transitions.settle(settlements) if settlements else {}
        if put_backs:
            waits = {r.claim.token: r.wait_seconds for r in put_backs}
            transitions.put_back([r.claim for r in put_backs], wait_seconds=waits)
        if unmarks:
            wait = max(r.wait_seconds for r in unmarks)
            transitions.unmark([r.claim for r in unmarks], wait_seconds=wait)
        acquitted = transitions.acquit(acquittals) if acquittals else set()
        still_ours = acquitted | (transitions.pass_on(passed_on) if passed_on else set())
        return settled, still_ours | (transitions.mark(marks) if marks else set())

    def halves(self) -> tuple[Group, Group]:
        middle = len(self.entries) // 2
        return Group(self.entries[:middle]), Group(self.entries[middle:])
