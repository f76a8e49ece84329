"""Rounds that alternate, A B A B …: a machine that slows down does so for everybody. Medians, spreads, ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.machine import yardstick


@dataclass(frozen=True)
class Figures:
    """What one round of one contender came to. More is better, unless the workload says otherwise."""

    value: float
    more: Mapping[str, Any] = field(default_factory=dict)  # what stands in the JSON beside it


@dataclass(frozen=True)
class Goal:
    """Ours against a rival's: at least (or at most) so many times, and what we would love to see."""

    rival: str
    must: float
    moonshot: float | None = None


@dataclass
class Series:
    """All rounds of one workload."""

    name: str
    unit: str
    goals: Sequence[Goal] = ()
    at_least: float | None = None  # of ours, by itself
    at_most: float | None = None
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    yardsticks: list[float] = field(default_factory=list)

    def values(self, contender: str) -> list[float]:
        return [figures.value for figures in self.figures.get(contender, [])]

    def median(self, contender: str) -> float:
        return median(self.values(contender))

    def ratios(self, contender: str, rival: str) -> list[float]:
        """Round by round."""
        pairs = zip(self.values(contender), self.values(rival), strict=False)
        return [mine / theirs for mine, theirs in pairs if theirs]

    @property
    def noise(self) -> float:
        """How far the slowest yardstick stands below the fastest; 0.1 is 10 %."""
        return 1 - min(self.yardsticks) / max(self.yardsticks) if self.yardsticks else 0.0


Tell = Callable[[str, int, str, Figures | None], None]


def alternate(
    series: Series,
    contenders: Mapping[str, Callable[[], Figures]],
    *,
    rounds: int,
    tell: Tell,
) -> Series:
    """Fill the series; `tell` hears of each round before (without figures) and after."""
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            tell(series.name, number, name, None)
            series.yardsticks.append(yardstick())
            figures = run()
            series.figures.setdefault(name, []).append(figures)
            tell(series.name, number, name, figures)
    return series
