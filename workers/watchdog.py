"""The watchdog: ends a process of which a part hangs, so that its supervisor starts another instead of a deaf one.

A thread that dies ends its process in order (worker.py, ticker.py). One that hangs cannot, and while it hangs nothing
can be handed back safely; so the process ends at once, and the rescuer takes it for what it is, a death. By then its
heartbeat has been withheld for half a lease.

What is no death: to wait for PostgreSQL, however long (those threads tick meanwhile), to be paused, or to sleep with
the machine. So silence is counted in looks of this thread and not in seconds, for all are paused together.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from workers.pulse import Part, Pulse

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
SHORTEST_SILENCE_SECONDS = 5.0  # a busy machine is no death either
LAST_WORDS_SECONDS = 5.0
SHOWN_CALLS = 8
STDERR = 2


class Watchdog:
    """Looks at a pulse once a second; with `report_to`, also writes there what it saw, for the parent of many."""

    def __init__(self, pulse: Pulse, *, silence_seconds: float, report_to: Path | None = None) -> None:
        self._pulse = pulse
        self._longest_silence = max(silence_seconds, SHORTEST_SILENCE_SECONDS)
        self._report_to = report_to
        self._looks: dict[str, tuple[float | None, int]] = {}  # part → (its last tick, looks since)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until stopped, or until a part hangs: then the process ends with 1."""
        while not self._stopping.wait(LOOK_SECONDS):
            self._wind_up()
            if hanging := self.look():
                _end_process(hanging)
            self._report()

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> list[Part]:
        """The parts that have not ticked for so many looks that they hang."""
        parts = self._pulse.parts()
        self._looks = {part.name: (part.ticked_at, self._looks_since_tick(part)) for part in parts}
        return [part for part in parts if self._looks[part.name][1] * LOOK_SECONDS >= self._patience(part)]

    def _looks_since_tick(self, part: Part) -> int:
        ticked_at, looks = self._looks.get(part.name, (part.ticked_at, 0))
        return looks + 1 if ticked_at == part.ticked_at else 0

    def _patience(self, part: Part) -> float:
        """Some tick only as often as they have something to do."""
        return self._longest_silence + part.every_seconds

    def _report(self) -> None:
        if self._report_to:
            with contextlib.suppress(OSError):  # a full disk hangs nobody; the parent sees the report grow old
                draft = self._report_to.with_suffix(".draft")
                draft.write_bytes(msgspec.json.encode(self._pulse.parts()))
                draft.replace(self._report_to)

    @contextmanager
    def guarded_by_the_kernel(self) -> Iterator[None]:
        """No thread runs while one computes in C and keeps the interpreter to itself (a regular expression can, for
        years). So the kernel ends the process once it has spent that much of the processor's time without a look."""
        faulthandler.register(signal.SIGVTALRM, file=STDERR, chain=True)  # tells where; then the signal kills
        self._wind_up()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            faulthandler.unregister(signal.SIGVTALRM)

    def _wind_up(self) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, self._longest_silence)


@contextmanager
def watched(pulse: Pulse, *, silence_seconds: float, report_to: Path | None = None) -> Iterator[None]:
    """What runs in this block ends with its process when a part of it is silent for so long."""
    watchdog = Watchdog(pulse, silence_seconds=silence_seconds, report_to=report_to)
    thread = threading.Thread(target=watchdog.run, name="watchdog", daemon=True)
    with watchdog.guarded_by_the_kernel():
        thread.start()
        try:
            yield
        finally:
            watchdog.stop()
            thread.join()


def read_report(path: Path) -> list[Part] | None:
    """What a watchdog wrote there; None when there is nothing (yet)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Part])
    except (OSError, msgspec.MsgspecError):
        return None


def _end_process(hanging: list[Part]) -> None:
    faulthandler.dump_traceback_later(LAST_WORDS_SECONDS, exit=True, file=STDERR)  # should the log hang, too
    for part in hanging:
        log.critical("part_hangs", part=part.name, where=_calls_of(part.thread))
    os._exit(1)


def _calls_of(thread: int) -> list[str]:
    """Where a thread is: the calls on its stack, the last one last. No values."""
    frame = sys._current_frames().get(thread)
    calls = traceback.extract_stack(frame)[-SHOWN_CALLS:] if frame else []
    return [f"{call.filename}:{call.lineno} {call.name}" for call in calls]
