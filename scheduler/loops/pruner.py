"""The pruner: retention, in small batches. That a message was sent is never pruned here."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from jobs import chores
from jobs.conf import Tunables

BATCH = 500
BATCHES_PER_ROUND = 20
CLOCK_SKEW = timedelta(days=1)  # tokens carry the clock of the API that made them


class Pruner:
    name = "pruner"
    every_seconds = 60.0

    def __init__(self, conf: Tunables) -> None:
        self._limits: dict[str, dict[str, int]] = {
            "keys": {"hours": conf.idempotency_hours, "limit": BATCH},
            "bodies": {"days": conf.keep_bodies_days, "limit": BATCH},
            "jobs": {"days": conf.keep_completed_days, "decided_days": conf.keep_decided_days, "limit": BATCH},
            "workers": {},
        }

    def run_once(self, now: float) -> dict[str, int]:
        counts = {name: self._prune(name, limits) for name, limits in self._limits.items()}
        return counts | {"tokens": self._prune_tokens()}

    @staticmethod
    def _prune(name: str, limits: dict[str, int]) -> int:
        pruned = 0
        for _ in range(BATCHES_PER_ROUND):
            gone = chores.prune(name, **limits)
            pruned += gone
            if gone < BATCH:
                break
        return pruned

    @staticmethod
    def _prune_tokens() -> int:
        """Refresh tokens that have run out need no place on the blacklist, not even for an API whose clock is slow."""
        expired = OutstandingToken.objects.filter(expires_at__lte=Now() - CLOCK_SKEW).order_by("id")
        expired = expired[: BATCH * BATCHES_PER_ROUND]
        gone, _ = OutstandingToken.objects.filter(id__in=list(expired.values_list("id", flat=True))).delete()
        return gone
