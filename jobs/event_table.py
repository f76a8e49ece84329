"""The table of what email services have told of mails; the others are in models.py."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.states import EventKind


class Event(models.Model):
    """One thing that happened to a mail, as its service told it. Append only; it goes with its job."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    esp = models.TextField()  # as anymail names it: "postmark"
    event_id = models.TextField()  # the service's, or made of what it said: the same event again is no second row
    kind = models.TextField(choices=[(word.value, word.value) for word in EventKind])
    recipient = models.TextField()  # in lower case; empty where the service does not say
    reason = models.TextField()  # anymail's word for why it was not delivered, or empty
    detail = models.TextField()  # what the receiving server or the service said
    at = models.DateTimeField()  # the service's time, or ours where it gives none
    received_at = models.DateTimeField()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=[word.value for word in EventKind]), name="%(class)s_kind_known"
            ),
            models.UniqueConstraint(fields=("job_id", "esp", "event_id", "recipient"), name="event_once"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.job_id}"
