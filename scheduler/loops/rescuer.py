"""The rescuer: running jobs of workers that fell silent are taken back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from jobs import queue, rescues
from jobs.conf import Tunables
from jobs.metrics import LEASE_TIMEOUTS

BATCH = 200
BLIND_SECONDS = 5.0  # since the last look: longer than a chore is ever late, unless PostgreSQL was away


class Rescuer:
    """Acts only on a heartbeat that it has itself seen unchanged for a whole lease, by its own monotonic clock:
    after an outage of PostgreSQL every worker looks dead, and none is (PROTOCOL trace 7). Time in which it could
    not look does not count."""

    name = "rescuer"
    every_seconds = 0.5

    def __init__(self, conf: Tunables) -> None:
        self._conf = conf
        self._last_heard: dict[UUID, tuple[datetime | None, float]] = {}  # worker → (heartbeat, first seen at)
        self._looked_at = float("-inf")

    def run_once(self, now: float) -> dict[str, int]:
        dead = self._dead(now)
        counts = {"queued": 0, "unknown": 0, "dead": 0}
        while dead:
            rescue = rescues.rescue(
                dead, lease_seconds=self._conf.lease_seconds, poison_deaths=self._conf.poison_deaths, limit=BATCH
            )
            queue.push(rescue.waiting)
            LEASE_TIMEOUTS.inc(len(rescue))
            counts["queued"] += len(rescue.waiting)
            counts["unknown"] += rescue.unknown
            counts["dead"] += rescue.dead
            if len(rescue) < BATCH:
                break
        return counts

    def _dead(self, now: float) -> list[UUID]:
        holding = rescues.holding_workers()
        was_blind = now - self._looked_at > BLIND_SECONDS
        heard = {} if was_blind else self._last_heard
        self._looked_at = now
        self._last_heard = {
            worker: heard[worker] if worker in heard and heard[worker][0] == beat_at else (beat_at, now)
            for worker, beat_at in holding.items()
        }
        return [worker for worker, (_, since) in self._last_heard.items() if now - since >= self._conf.lease_seconds]
