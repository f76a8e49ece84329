"""The table of workers; the others are in models.py."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from jobs.states import WorkerState


class Worker(models.Model):
    """One worker process and its heartbeat; its claims are good while it beats."""

    id = models.UUIDField(primary_key=True)  # new with every process
    name = models.TextField()  # host:pid, for people
    state = models.TextField(choices=[(word.value, word.value) for word in WorkerState])
    in_flight = models.IntegerField(default=0)
    completed = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=[word.value for word in WorkerState]), name="%(class)s_state_known"
            ),
        )

    def __str__(self) -> str:
        return self.name
