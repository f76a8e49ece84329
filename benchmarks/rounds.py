"""Rounds that alternate, A B A B …: a machine that slows down does so for everybody. Medians, spreads, ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.machine import yardstick

OURS = "Sendonce"


@dataclass(frozen=True)
class Figures:
    """What one round of one contender came to. More is better, unless the workload says otherwise."""

    value: float
    more: Mapping[str, Any] = field(default_factory=dict)  # what stands in the JSON beside it


@dataclass(frozen=True)
class Turn:
    """Whose it is in a workload, and how far that has come."""

    workload: str
    number: int  # of the round, from 1; 0 is what comes before them
    rounds: int
    contender: str
    place: int = 0  # among the contenders of the round
    places: int = 1

    @property
    def share(self) -> float:
        """What lies behind when this turn begins, of the whole workload; 0 as long as nobody can tell."""
        return max(0.0, (self.number - 1 + self.place / self.places) / self.rounds)


@dataclass(frozen=True)
class Goal:
    """Ours against a rival's: at least so many times (at most, where less is better), and what we would love to see."""

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
    at_best: float | None = None
    subject: str = OURS  # whose ratios are shown
    notes: list[str] = field(default_factory=list)  # what was not measured, and why
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
    def rival(self) -> str | None:
        """Whom we are compared with first. Where less is better there is a bound instead."""
        if not self.goals or self.is_less_better or self.goals[0].rival not in self.figures:
            return None
        return self.goals[0].rival

    def medians(self, name: str) -> dict[str, dict[str, float]]:
        """What rounds tell beside their figure, by contender: the median of each of its parts."""
        return {
            contender: {part: median(told.get(part, 0.0) for told in parts) for part in parts[0]}
            for contender, rounds in self.figures.items()
            if (parts := [_parts(figures.more[name]) for figures in rounds if name in figures.more])
        }

    @property
    def is_less_better(self) -> bool:
        return self.at_most is not None

    @property
    def noise(self) -> float:
        """How far the slowest yardstick stands below the fastest; 0.1 is 10 %."""
        return 1 - min(self.yardsticks) / max(self.yardsticks) if self.yardsticks else 0.0


def _parts(told: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
    return dict(told) if isinstance(told, Mapping) else {str(number): part for number, part in enumerate(told)}


Tell = Callable[[Turn, Figures | None], None]


def alternate(
    series: Series,
    contenders: Mapping[str, Callable[[], Figures]],
    *,
    rounds: int,
    tell: Tell,
) -> Series:
    """Fill the series; `tell` hears of each round before (without figures) and after."""
    for number in range(1, rounds + 1):
        for place, (name, run) in enumerate(contenders.items()):
            turn = Turn(series.name, number, rounds, name, place, len(contenders))
            tell(turn, None)
            series.yardsticks.append(yardstick())
            figures = run()
            series.figures.setdefault(name, []).append(figures)
            tell(turn, figures)
    return series


def together(series: Series, run: Callable[[], Mapping[str, Figures]], *, rounds: int, tell: Tell) -> Series:
    """The same for a run that tells of all contenders at once."""
    for number in range(1, rounds + 1):
        tell(Turn(series.name, number, rounds, OURS), None)
        series.yardsticks.append(yardstick())
        for name, figures in run().items():
            series.figures.setdefault(name, []).append(figures)
            tell(Turn(series.name, number, rounds, name), figures)
    return series
