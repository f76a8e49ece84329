"""The shape that all chores share."""

from __future__ import annotations

from typing import Protocol


class Chore(Protocol):
    """Something the clock does again and again; safe to run twice at once, on any number of nodes."""

    name: str
    every_seconds: float

    def run_once(self, now: float) -> dict[str, int]:
        """Do what is due, and say how much that was. `now` is this process's monotonic clock, seconds:
        whether a job is due is PostgreSQL's to say."""
