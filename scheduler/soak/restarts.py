"""Worker processes are restarted, one every so often, as a deployment would: SIGTERM, drain, start."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import cycle

from scheduler.torture.platform import Process


@dataclass(frozen=True)
class Restart:
    """`at` in seconds since the run began; `took` until the new process was started, drain included."""

    process: str
    at: float
    took: float


class Restarts:
    """A thread. With several workers the first is spared, so that one of them is watched from end to end."""

    def __init__(self, workers: list[Process], *, every: float, kill: bool) -> None:
        self._turn = cycle(workers[1:] or workers)
        self._every, self._kill = every, kill
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="restarts", daemon=True)
        self.done: list[Restart] = []
        self.error: BaseException | None = None

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def stop(self) -> None:
        """A restart under way is finished."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            due = self._began + self._every
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                self._restart(next(self._turn))
                due += self._every
        except BaseException as error:
            self.error = error

    def _restart(self, process: Process) -> None:
        at = time.monotonic()
        if self._kill:
            process.kill()
            process.start()
        else:
            process.restart()
        self.done.append(Restart(str(process), at - self._began, time.monotonic() - at))
