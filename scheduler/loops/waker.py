"""The waker: jobs that waited beside an unknown go on when it is decided; unknowns whose job says what to do
without a person are decided by that policy."""

from __future__ import annotations

from jobs import chores, decisions, inquiries, queue
from jobs.conf import Tunables
from jobs.errors import TooLate
from jobs.states import Decision, OnUnknown

BATCH = 500
DECISIONS = {OnUnknown.RESEND: Decision.SEND_AGAIN, OnUnknown.ASSUME_SENT: Decision.MARK_SENT}


class Waker:
    name = "waker"
    every_seconds = 1.0

    def __init__(self, conf: Tunables) -> None:
        self._conf = conf

    def run_once(self, now: float) -> dict[str, int]:
        decided = self._apply_policies()
        woken = chores.wake_held(limit=BATCH)
        queue.push(woken)
        return {"decided": decided, "woken": len(woken)}

    def _apply_policies(self) -> int:
        due = chores.policy_due(
            patience_seconds=self._conf.patience_seconds,
            askable=self._conf.evidence_sources.keys(),
            asking_seconds=inquiries.ASKING_SECONDS,
            limit=BATCH,
        )
        return sum(self._decide(dead_letter, OnUnknown(policy)) for dead_letter, policy in due)

    @staticmethod
    def _decide(dead_letter: int, policy: OnUnknown) -> bool:
        try:
            decisions.resolve(dead_letter, DECISIONS[policy], by=None, new_budget=False)
        except TooLate:
            return False  # a person, a late reply or another clock was first
        return True
