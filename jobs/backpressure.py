"""Whether too many jobs wait already. What was accepted is never dropped; so at some point no more is.

Asked for each request, and looked at a few times a second: the limit may be passed by what comes in meanwhile. Redis
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
        limit = tunables().queue_limit
        if limit and time.monotonic() >= self._look_at and self._looking.acquire(blocking=False):
            try:
                is_full = _waiting(limit) >= limit
                self._look_at = time.monotonic() + LOOK_SECONDS
            finally:
                self._looking.release()
            if is_full != self._was_full:
                log.warning("queue_full" if is_full else "queue_has_room", limit=limit)
            self._was_full = is_full
        return bool(limit) and self._was_full


def _waiting(limit: int) -> int:
    try:
        return sum(sum(queue.depths(lane).values()) for lane in Lane)
    except queue.Away:
        return int(run("count_waiting", most=limit)[0].waiting)
