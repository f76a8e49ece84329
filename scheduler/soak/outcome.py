"""All that a run has found out, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scheduler.soak.balance import Balance
from scheduler.soak.restarts import Restart
from scheduler.soak.samples import ProcessSample, Sample
from scheduler.soak.trend import Point
from scheduler.soak.wish import Wish

WORKER, SCHEDULER, API = "worker ", "scheduler ", "api "


@dataclass(frozen=True)
class Posts:
    """What the clients have seen; seconds sorted."""

    statuses: Mapping[str, int]
    answer_seconds: Sequence[float]
    late_seconds: Sequence[float]
    missed: int  # could not be begun in time

    @property
    def drawn(self) -> int:
        """How many there should have been."""
        return sum(self.statuses.values()) + self.missed

    @property
    def accepted(self) -> int:
        return self.statuses.get("202", 0)


@dataclass(frozen=True)
class Outcome:
    """`samples` in their order; those of the steady state come after the warm-up, while posts are made."""

    wish: Wish
    samples: Sequence[Sample]
    restarts: Sequence[Restart]
    falls: Sequence[str]  # processes that ended by themselves, and their last words
    posts: Posts
    balance: Balance
    audit_holds: bool
    audit_words: str
    lag: tuple[float, float, float]  # p50, p99 and most of the steady state's jobs, in seconds
    processors: int

    @cached_property
    def steady(self) -> list[Sample]:
        return [s for s in self.samples if self.wish.warm_up_seconds <= s.at <= self.wish.seconds]

    @property
    def steady_seconds(self) -> float:
        return self.steady[-1].at - self.steady[0].at if self.steady else 0.0

    @property
    def names(self) -> list[str]:
        """Of all processes, in the order in which they were seen."""
        return list(dict.fromkeys(process.name for sample in self.samples for process in sample.processes))

    def seen(self, name: str) -> list[tuple[float, ProcessSample]]:
        """One process in the steady state: when, and what."""
        return [(sample.at, process) for sample in self.steady for process in sample.processes if process.name == name]

    def lives(self, name: str) -> list[list[tuple[float, ProcessSample]]]:
        """The same, by the processes that stood in its place one after the other."""
        by_pid: dict[int, list[tuple[float, ProcessSample]]] = {}
        for at, process in self.seen(name):
            by_pid.setdefault(process.pid, []).append((at, process))
        return list(by_pid.values())

    def is_restarted(self, name: str) -> bool:
        return any(restart.process == name for restart in self.restarts)

    def extra_keys(self) -> list[Point]:
        """How many keys Redis holds beyond one for each mail that was sent within its memory."""
        sent = [(sample.at, float(sample.at_server)) for sample in self.samples]
        return [
            (s.at, s.redis_keys - (s.at_server - _interpolated(sent, s.at - self.wish.ttl_seconds)))
            for s in self.steady
        ]

    def series(self, name: str) -> list[Point]:
        """A figure of all samples of the steady state: `backlog`, `connections`, `redis_keys`, …"""
        return [(sample.at, float(getattr(sample, name))) for sample in self.steady]


def _interpolated(points: Sequence[Point], x: float) -> float:
    """On the line between the two points around x; before the first the first."""
    after = next((n for n, point in enumerate(points) if point[0] >= x), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(0, after - 1)], points[after]
    return y1 if x1 == x0 else y0 + (y1 - y0) * max(0.0, (x - x0) / (x1 - x0))
