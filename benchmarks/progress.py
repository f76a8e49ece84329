"""Which round of how many is running, and about how long everything will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from benchmarks.rounds import Turn


class Progress:
    """`expected` is what workloads took when they were last stored, in seconds; where it says nothing about one, what
    the others take is the guess."""

    def __init__(
        self,
        names: Sequence[str],
        expected: Mapping[str, float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = list(names)
        self._expected = dict(expected)
        self._clock = clock
        self.begin(self._names[0])

    def begin(self, name: str) -> None:
        self._at = self._names.index(name)
        self._began = self._clock()
        self._ready_after: float | None = None  # seconds, until the first round

    def end(self) -> float:
        """The seconds that this workload took."""
        took = self._clock() - self._began
        self._expected[self._names[self._at]] = took
        return took

    def line(self, turn: Turn) -> str:
        """For people: where we are."""
        rounds = f"round {turn.number} of {turn.rounds}" if turn.number else "getting ready"
        if turn.number and self._ready_after is None:
            self._ready_after = self._clock() - self._began
        where = f"[{self._at + 1}/{len(self._names)}] {turn.workload}, {rounds}: {turn.contender} …"
        left = self._seconds_left(turn.share)
        return where if left is None else f"{where} {_about(left)} left"

    def _seconds_left(self, share: float) -> float | None:
        passed = self._clock() - self._began
        name = self._names[self._at]
        if share and self._ready_after is not None:
            self._expected[name] = self._ready_after + (passed - self._ready_after) / share
        known = [self._expected[each] for each in self._names if each in self._expected]
        if not known:
            return None
        here = max(0.0, self._expected.get(name, mean(known)) - passed)
        return here + sum(self._expected.get(each, mean(known)) for each in self._names[self._at + 1 :])


def _about(seconds: float) -> str:
    return f"about {max(10, round(seconds, -1)):.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
