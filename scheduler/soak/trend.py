"""Straight lines through samples, by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HOUR = 3600.0
Point = tuple[float, float]  # seconds, value
FEWEST_POINTS = 4


@dataclass(frozen=True)
class Trend:
    """Values in their own unit; `error` is the standard error of the slope."""

    per_hour: float
    error: float
    seconds: float  # from the first to the last sample; of several lives the longest
    level: float  # in the middle

    @property
    def growth(self) -> float:
        """Along the line, from the first sample to the last."""
        return self.per_hour * self.seconds / HOUR

    def grows_by_more_than(self, allowance: float) -> bool:
        """And not by chance: the slope is twice its error or more."""
        return self.growth > allowance and self.per_hour > 2 * self.error


def trend(points: Sequence[Point]) -> Trend | None:
    """None for too few points to say anything."""
    return trend_within([points])


def trend_within(lives: Sequence[Sequence[Point]]) -> Trend | None:
    """The slope that several lives have in common, each on a level of its own."""
    lives = [points for points in lives if len(points) >= FEWEST_POINTS]
    if not lives:
        return None
    centred = [_centred(points) for points in lives]
    xs = [x for points in centred for x, _ in points]
    ys = [y for points in centred for _, y in points]
    spread = sum(x * x for x in xs)
    if not spread:
        return None
    slope = sum(x * y for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    freedom = max(1, len(xs) - len(lives) - 1)
    return Trend(
        per_hour=slope * HOUR,
        error=math.sqrt(rest / freedom / spread) * HOUR,
        seconds=max(points[-1][0] - points[0][0] for points in lives),
        level=sum(y for points in lives for _, y in points) / len(xs),
    )


def _centred(points: Sequence[Point]) -> list[Point]:
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    return [(x - middle, y - level) for x, y in points]


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values; 0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0
