"""The timekeeper: schedules that are due make their jobs."""

from __future__ import annotations

from uuid import UUID

from jobs import firings
from jobs.metrics import SCHEDULE_MISSED, SCHEDULE_RUNS

MOST_PER_ROUND = 1000  # then the clock shows that it lives, and may be told to stop
REST_SECONDS = 10.0  # of a schedule that could not be fired, and is not to blame


class Timekeeper:
    """One schedule per transaction: none waits for another's, and one that fails takes none along."""

    name = "timekeeper"
    every_seconds = 1.0

    def __init__(self) -> None:
        self._rests_until: dict[UUID, float] = {}

    def run_once(self, now: float) -> dict[str, int]:
        counts = {"fired": 0, "missed": 0, "paused": 0, "put_off": 0}
        self._rests_until = {schedule: until for schedule, until in self._rests_until.items() if until > now}
        for _ in range(MOST_PER_ROUND):
            firing = firings.fire(but=self._rests_until)
            if firing is None:
                break
            if firing.put_off:
                self._rests_until[firing.schedule_id] = now + REST_SECONDS
            SCHEDULE_RUNS.inc(firing.fired)
            SCHEDULE_MISSED.inc(firing.missed)
            for name in counts:
                counts[name] += getattr(firing, name)
        return counts
