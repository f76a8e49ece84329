"""The table of schedules; the others are in models.py."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.states import Missed


class Schedule(models.Model):
    """A job that is made again and again, and when next."""

    id = models.UUIDField(primary_key=True)  # UUIDv7
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.TextField()
    cron = models.TextField()  # as it was given; jobs/timetables.py reads it
    time_zone = models.TextField()
    missed = models.TextField(choices=[(word.value, word.value) for word in Missed])
    type = models.TextField()
    payload = models.JSONField()
    options = models.JSONField(default=dict)  # of each job: those that were given
    next_at = models.DateTimeField(null=True)  # the guard: whoever fires names the time that it has seen here
    last_at = models.DateTimeField(null=True)  # the planned time of the last job
    last_job_id = models.UUIDField(null=True)  # no foreign key: retention takes old jobs
    paused = models.BooleanField(default=False)
    pause_reason = models.TextField(db_default="")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("owner", "name"), name="schedule_name_of_owner"),
            models.CheckConstraint(
                condition=Q(missed__in=[word.value for word in Missed]), name="%(class)s_missed_known"
            ),
            models.CheckConstraint(
                condition=Q(paused=True, next_at__isnull=True) | Q(paused=False, next_at__isnull=False),
                name="schedule_has_a_time_or_rests",
            ),
        )
        indexes = (
            models.Index(fields=("owner", "-id"), name="schedule_of_owner"),
            models.Index(fields=("next_at",), condition=Q(paused=False), name="schedule_due"),
        )

    def __str__(self) -> str:
        return self.name
