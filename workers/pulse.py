"""Signs of life and of progress, by the parts of a process: its threads and its loop.

To *tick* is to live: the heartbeat and the watchdog ask who fell silent. To make *progress* is to have got something
done, or to know that there is nothing to do: readiness asks for that. Times are on the machine's monotonic clock,
which all its processes share and nobody sets.
"""

from __future__ import annotations

import threading
import time

import msgspec

SILENCE_SECONDS = 10.0  # beyond twice its period a part that says nothing is not ready …
TROUBLE_SECONDS = 5.0  # … and one that says why, so long after its last progress


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one part."""

    name: str
    every_seconds: float = 1.0  # how often it makes progress when all is well
    ticked_at: float | None = None
    progress_at: float | None = None
    trouble: str = ""
    thread: int = 0

    def objection(self, now: float) -> str:
        """Why it is not ready, or nothing."""
        if self.progress_at is None:
            return self.trouble or "no progress yet"
        age = now - self.progress_at
        if self.trouble and age > TROUBLE_SECONDS:
            return f"{self.trouble}; no progress for {age:.0f} s"
        return f"no progress for {age:.0f} s" if age > 2 * self.every_seconds + SILENCE_SECONDS else ""


class Pulse:
    """The parts of this process. Each is written by its own thread only."""

    def __init__(self, **every_seconds: float) -> None:
        """The parts that there will be, and how often each makes progress when all is well."""
        self._parts = {name: Part(name=name, every_seconds=seconds) for name, seconds in every_seconds.items()}
        self._ended: set[str] = set()

    def tick(self, part: str) -> None:
        self._change(part)

    def progress(self, part: str) -> None:
        self._change(part, progress_at=time.monotonic(), trouble="")

    def trouble(self, part: str, what: str) -> None:
        """It lives and cannot do its work."""
        self._change(part, trouble=what)

    def forget(self, part: str) -> None:
        """It has ended in order: its silence means nothing any more."""
        self._ended.add(part)
        self._parts.pop(part, None)

    def silent(self, *, for_seconds: float) -> list[str]:
        """The parts that have begun and have not ticked for so long."""
        now = time.monotonic()
        return [p.name for p in self.parts() if p.ticked_at is not None and now - p.ticked_at > for_seconds]

    def parts(self) -> list[Part]:
        return list(self._parts.values())

    def _change(self, name: str, **what: object) -> None:
        if name in self._ended:
            return
        part = self._parts.get(name) or Part(name=name)
        now = time.monotonic()
        self._parts[name] = msgspec.structs.replace(part, ticked_at=now, thread=threading.get_ident(), **what)
