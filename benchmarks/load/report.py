"""What became of a run: percentiles, rates, and how the jobs ended. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles
from typing import Any

FINAL = frozenset({"completed", "failed", "unknown", "cancelled", "expired"})
PERCENTILES = (50, 95, 99)


@dataclass
class Run:
    """Requests and jobs of one scenario. Times in seconds."""

    scenario: str
    seconds: float = 0.0  # of posting
    took: list[float] = field(default_factory=list)  # each request that was answered
    errors: Counter[str] = field(default_factory=Counter)  # by what was answered, or why nothing was
    accepted: list[str] = field(default_factory=list)  # ids
    ended: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by id, jobs that have come to an end

    @property
    def requests(self) -> int:
        return len(self.took) + sum(n for why, n in self.errors.items() if not why.isdecimal())

    def told(self) -> dict[str, Any]:
        """The figures, by name; what cannot be told is None."""
        lasted = [_at(job["updated_at"]) - _at(job["created_at"]) for job in self.ended.values()]
        return {
            "scenario": self.scenario,
            "requests": self.requests,
            "request_ms": {f"p{p}": _ms(value) for p, value in percentiles(self.took).items()},
            "error_rate": sum(self.errors.values()) / self.requests if self.requests else None,
            "errors": dict(self.errors),
            "accepted": len(self.accepted),
            "accepted_per_second": len(self.accepted) / self.seconds if self.seconds else None,
            "ended": dict(Counter(str(job["status"]) for job in self.ended.values())),
            "still_under_way": len(self.accepted) - len(self.ended),
            "completed_per_second": self._completed_per_second(),
            "accepted_to_ended_ms": {f"p{p}": _ms(value) for p, value in percentiles(lasted).items()},
        }

    def _completed_per_second(self) -> float | None:
        """From the first that was accepted to the last that was completed."""
        completed = [job for job in self.ended.values() if job["status"] == "completed"]
        if not completed:
            return None
        first = min(_at(job["created_at"]) for job in self.ended.values())
        last = max(_at(job["updated_at"]) for job in completed)
        return len(completed) / (last - first) if last > first else None


def percentiles(values: Iterable[float]) -> dict[int, float | None]:
    """By interpolation between neighbours; None where there are no values."""
    found = sorted(values)
    if len(found) < 2:
        return dict.fromkeys(PERCENTILES, found[0] if found else None)
    points = quantiles(found, n=100, method="inclusive")
    return {p: points[p - 1] for p in PERCENTILES}


def lines(told: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    ended = ", ".join(f"{n} {status}" for status, n in sorted(told["ended"].items())) or "none"
    errors = ", ".join(f"{n} × {why}" for why, n in told["errors"].items())
    return [
        f"{told['scenario']}",
        f"  requests   {told['requests']}, errors {_percent(told['error_rate'])}{f' ({errors})' if errors else ''}",
        f"  answered   {_points(told['request_ms'])}",
        f"  accepted   {told['accepted']} jobs, {_rate(told['accepted_per_second'])}",
        f"  ended      {ended}; {told['still_under_way']} still under way",
        f"  completed  {_rate(told['completed_per_second'])}",
        f"  took       {_points(told['accepted_to_ended_ms'])}, from accepted to ended",
    ]


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _points(told: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {'–' if value is None else f'{value:,.1f} ms'}" for name, value in told.items())


def _rate(per_second: float | None) -> str:
    return "–" if per_second is None else f"{per_second:,.1f}/s"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
