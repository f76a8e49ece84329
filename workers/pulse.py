"""Signs of life of a worker's threads: each ticks while it makes progress; the heartbeat asks who fell silent."""

from __future__ import annotations

import time


class Pulse:
    """When each named part last ticked, on this process's monotonic clock."""

    def __init__(self) -> None:
        self._ticks: dict[str, float] = {}

    def tick(self, part: str) -> None:
        self._ticks[part] = time.monotonic()

    def forget(self, part: str) -> None:
        """It has ended in order: its silence means nothing any more."""
        self._ticks.pop(part, None)

    def silent(self, *, for_seconds: float) -> list[str]:
        """The parts that have not ticked for so long."""
        now = time.monotonic()
        return [part for part, at in list(self._ticks.items()) if now - at > for_seconds]
