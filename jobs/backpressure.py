"""Whether too many jobs wait already. What was accepted is never dropped; so at some point no more is.

It is looked at a few times a second, after jobs were accepted: nobody waits for that look before his job is safe, and
the limit may be passed by what comes in meanwhile. Once it is reached, it is looked at before anybody is refused. Redis
tells the length of its lists at once; without Redis, PostgreSQL counts up to the limit.
"""

from __future__ import annotations

import threading
import time

import structlog

from jobs import queue
from jobs.conf import tunables
from jobs.sql import run
from jobs.states import Lane

LOOK_SECONDS = 0.25
RETRY_SECONDS = 5  # what those who are refused are told

log = structlog.get_logger(__name__)


class Backpressure:
    """What this process knows of it. Thread-safe: one thread looks, the others go by what was seen."""

    def __init__(self) -> None:
        self._looking = threading.Lock()
        self._look_at = 0.0
        self._was_full = False

    def is_full(self) -> bool:
        """Whether QUEUE_LIMIT jobs wait. Raises django.db's errors when neither can be asked."""
        if self._was_full:
            self.look()
        return self._was_full

    def look(self) -> None:
        """See how many wait, unless somebody has just done so."""
        if time.monotonic() < self._look_at or not self._looking.acquire(blocking=False):
            return
        try:
            limit = tunables().queue_limit
            is_full = bool(limit) and _waiting(limit) >= limit
            self._look_at = time.monotonic() + LOOK_SECONDS
        finally:
            self._looking.release()
        if is_full != self._was_full:
            log.warning("queue_full" if is_full else "queue_has_room", limit=limit)
        self._was_full = is_full


def _waiting(limit: int) -> int:
    try:
        return sum(sum(queue.depths(lane).values()) for lane in Lane)
    except queue.Away:
        return int(run("count_waiting", most=limit)[0].waiting)
