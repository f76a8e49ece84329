"""The clock: each chore has a thread of its own, so that none waits for another. No leader: any number may run."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import structlog
from django.db import connection

from jobs.database import is_away
from scheduler.loops.base import Chore

log = structlog.get_logger(__name__)

JITTER = 0.2  # clocks that were started together do not stay together
RETRY_SECONDS = 1.0


class Ticker:
    """`run` returns after `stop`, once every chore has finished its round."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._stopping = threading.Event()

    def run(self) -> None:
        threads = [threading.Thread(target=self._repeat, args=[chore], name=chore.name) for chore in self._chores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        self._stopping.set()

    def _repeat(self, chore: Chore) -> None:
        structlog.contextvars.bind_contextvars(chore=chore.name)
        try:
            while not self._stopping.wait(self._round(chore) * random.uniform(1 - JITTER, 1 + JITTER)):
                pass
        finally:
            connection.close()

    def _round(self, chore: Chore) -> float:
        """Run once; how long to wait. A chore that fails is told, and tried again soon."""
        try:
            counts = chore.run_once(time.monotonic())
        except Exception as error:
            connection.close()
            if is_away(error):
                log.warning("postgres_away", error=type(error).__name__)
                return RETRY_SECONDS
            log.exception("chore_failed")
            return max(RETRY_SECONDS, chore.every_seconds)
        if any(counts.values()):
            log.info("chore_done", **{name: count for name, count in counts.items() if count})
        return chore.every_seconds
