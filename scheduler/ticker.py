"""The clock: each chore has a thread of its own, so that none waits for another. No leader: any number may run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from functools import partial

import structlog
from django.db import connection

from jobs.database import is_away
from jobs.postgres.base import while_waiting
from scheduler.loops.base import Chore
from workers.pulse import Pulse

log = structlog.get_logger(__name__)

JITTER = 0.2  # clocks that were started together do not stay together
RETRY_SECONDS = 0.5


class Ticker:
    """`run` returns after `stop`, once every chore has finished its round: 0, or 1 when a chore's thread died."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self.pulse = Pulse(**{chore.name: chore.every_seconds for chore in chores})
        self._chores = chores
        self._stopping = threading.Event()
        self._has_failed = False

    def run(self) -> int:
        threads = [threading.Thread(target=self._repeat, args=[chore], name=chore.name) for chore in self._chores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return int(self._has_failed)

    def stop(self) -> None:
        self._stopping.set()

    def _repeat(self, chore: Chore) -> None:
        structlog.contextvars.bind_contextvars(chore=chore.name)
        while_waiting(partial(self.pulse.tick, chore.name))
        try:
            while not self._stopping.wait(self._round(chore) * random.uniform(1 - JITTER, 1 + JITTER)):
                pass
        except BaseException:  # whatever it was, a clock without one of its chores would be a deaf one
            log.exception("chore_died")
            self._has_failed = True
            self.stop()
        finally:
            connection.close()

    def _round(self, chore: Chore) -> float:
        """Run once; how long to wait. A chore that fails is told, and tried again soon."""
        self.pulse.tick(chore.name)
        try:
            counts = chore.run_once(time.monotonic())
        except Exception as error:
            connection.close()
            self.pulse.trouble(chore.name, type(error).__name__)
            if is_away(error):
                log.warning("postgres_away", error=type(error).__name__)
                return RETRY_SECONDS
            log.exception("chore_failed")
            return max(RETRY_SECONDS, chore.every_seconds)
        self.pulse.progress(chore.name)
        if any(counts.values()):
            log.info("chore_done", **{name: count for name, count in counts.items() if count})
        return chore.every_seconds
