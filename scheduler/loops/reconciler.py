"""The reconciler: queued jobs whose id was lost on the way to Redis, or with Redis, are pushed again."""

from __future__ import annotations

from itertools import product

from jobs import chores, queue
from jobs.states import Lane, Priority

BATCH = 1000
HEAD = 10
GRACE_SECONDS = 3.0  # between a commit and its push, and between a take and its claim


class Reconciler:
    """Lists are first in, first out, so whatever is older than their head was lost (PROTOCOL trace 18)."""

    name = "reconciler"
    every_seconds = 0.7  # so that a Redis that is back is mended within 2 s

    def run_once(self, now: float) -> dict[str, int]:
        counts = {"pushed_again": 0}
        for lane, priority in product(Lane, Priority):
            try:
                head = queue.head(priority, limit=HEAD, lane=lane)
            except queue.Away:
                break  # workers ask PostgreSQL themselves; there is no list to mend
            lost = chores.find_lost(priority, head=head, grace_seconds=GRACE_SECONDS, limit=BATCH, lane=lane)
            queue.push(lost)
            counts["pushed_again"] += len(lost)
        return counts
