"""The promoter: scheduled jobs that are due become queued, and the bell rings."""

from __future__ import annotations

from jobs import chores, queue

BATCH = 500


class Promoter:
    name = "promoter"
    every_seconds = 0.1  # a wait of 1 s is never served more than 0.25 s late

    def run_once(self, now: float) -> dict[str, int]:
        promoted = 0
        while waiting := chores.promote(limit=BATCH):
            queue.push(waiting)
            promoted += len(waiting)
            if len(waiting) < BATCH:
                break
        return {"promoted": promoted}
