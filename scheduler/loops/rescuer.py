"""The rescuer: running jobs of workers that fell silent are taken back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from jobs import queue, rescues
from jobs.conf import Tunables
from jobs.metrics import LEASE_TIMEOUTS, SEND_UNKNOWN

BATCH = 200
LONGEST_LOOK_SECONDS = 5.0  # from one look to the next: longer than a chore is ever late, unless PostgreSQL was away
SHORTEST_LOOK_SECONDS = 2.0  # the same for short leases, of which a look must be a small part


class Rescuer:
    """Acts only on a heartbeat that it has itself seen unchanged for a whole lease, by its own monotonic clock:
    after an outage of PostgreSQL every worker looks dead, and none is (PROTOCOL trace 7). Time in which it could
    not look does not count; neither does it undo what was seen before."""

    name = "rescuer"
    every_seconds = 0.5

    def __init__(self, conf: Tunables) -> None:
        self._conf = conf
        self._last_heard: dict[
            UUID, tuple[datetime | None, float]
        ] = {}  # worker → (heartbeat, watched when first seen)
        self._looked_at = float("-inf")
        self._watched_seconds = 0.0
        self._longest_look = min(LONGEST_LOOK_SECONDS, max(SHORTEST_LOOK_SECONDS, conf.lease_seconds / 6))

    def run_once(self, now: float) -> dict[str, int]:
        dead = self._dead(now)
        counts = {"queued": 0, "unknown": 0, "dead": 0}
        while dead:
            rescue = rescues.rescue(
                dead, lease_seconds=self._conf.lease_seconds, poison_deaths=self._conf.poison_deaths, limit=BATCH
            )
            queue.push(rescue.waiting)
            LEASE_TIMEOUTS.inc(len(rescue))
            SEND_UNKNOWN.inc(rescue.unknown)
            counts["queued"] += len(rescue.waiting)
            counts["unknown"] += rescue.unknown
            counts["dead"] += rescue.dead
            if len(rescue) < BATCH:
                break
        return counts

    def _dead(self, now: float) -> list[UUID]:
        holding = rescues.holding_workers()
        since_last_look, self._looked_at = now - self._looked_at, now
        if since_last_look <= self._longest_look:
            self._watched_seconds += since_last_look
        watched, heard = self._watched_seconds, self._last_heard
        self._last_heard = {
            worker: heard[worker] if worker in heard and heard[worker][0] == beat_at else (beat_at, watched)
            for worker, beat_at in holding.items()
        }
        lease = self._conf.lease_seconds
        return [worker for worker, (_, since) in self._last_heard.items() if watched - since >= lease]
