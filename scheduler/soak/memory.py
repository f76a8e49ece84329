"""What each process holds: memory, connections, files, threads; and whether it holds ever more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.soak.outcome import Outcome
from scheduler.soak.samples import ProcessSample
from scheduler.soak.trend import Trend, trend, trend_within

Life = list[tuple[float, ProcessSample]]

YOUNG_SECONDS = 60.0  # a restarted process fills its caches and pools until then, or for half of its life


@dataclass(frozen=True)
class Held:
    """One process, or those that stood in its place one after the other."""

    name: str
    lives: int
    rss: tuple[int, int]  # least and most, in bytes; here and below of grown-up processes
    slope: Trend | None  # of the RSS, in bytes; of several lives the one they have in common
    unshared: Trend | None  # the same of the USS
    across: Trend | None  # of the lives' levels, when there are several
    cpu_share: float  # of one processor
    files: tuple[int, int]
    threads: tuple[int, int]
    to_postgres: tuple[int, int]
    to_redis: tuple[int, int]


def held(outcome: Outcome, name: str) -> Held | None:
    """None when it was not seen in the steady state."""
    lives = outcome.lives(name)
    if not lives:
        return None
    if outcome.is_restarted(name):
        lives = _grown_up(lives) or lives
    seen = [process for life in lives for _, process in life]
    return Held(
        name=name,
        lives=len(lives),
        rss=_span([process.rss for process in seen]),
        slope=trend_within([[(at, float(process.rss)) for at, process in life] for life in lives]),
        unshared=trend_within([[(at, float(process.uss)) for at, process in life] for life in lives]),
        across=trend([_level(life) for life in lives]) if len(lives) > 1 else None,
        cpu_share=_cpu_share(lives),
        files=_span([process.files for process in seen]),
        threads=_span([process.threads for process in seen]),
        to_postgres=_span([process.to_postgres for process in seen]),
        to_redis=_span([process.to_redis for process in seen]),
    )


def _grown_up(lives: list[Life]) -> list[Life]:
    young = min(YOUNG_SECONDS, max(life[-1][1].age for life in lives) / 2)
    grown = [[(at, process) for at, process in life if process.age >= young] for life in lives]
    return [life for life in grown if life]


def _level(life: Life) -> tuple[float, float]:
    return sum(at for at, _ in life) / len(life), sum(process.rss for _, process in life) / len(life)


def _cpu_share(lives: Sequence[Life]) -> float:
    spent = sum(life[-1][1].cpu_seconds - life[0][1].cpu_seconds for life in lives)
    lived = sum(life[-1][0] - life[0][0] for life in lives)
    return spent / lived if lived else 0.0


def _span(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)
