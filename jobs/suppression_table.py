"""The table of suppressions; the others are in models.py."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.states import SuppressionReason


class Suppression(models.Model):
    """An address that gets no more mail of an owner: none at all, or none of one topic."""

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    # In the form in which addresses are compared (jobs/suppressions.py), and by the collation that makes it.
    address = models.TextField(db_collation="C")
    topic = models.TextField(db_default="")  # "": everything
    reason = models.TextField(choices=[(word.value, word.value.replace("_", " ")) for word in SuppressionReason])
    detail = models.TextField(db_default="")  # where that is known from
    job_id = models.UUIDField(null=True)  # the job that led to it; no foreign key: retention takes old jobs
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (
            # In this order: the gate asks for owner and address, and looks at the topic of what it finds.
            models.UniqueConstraint(fields=("owner", "address", "topic"), name="suppression_once"),
            models.CheckConstraint(
                condition=Q(reason__in=[word.value for word in SuppressionReason]), name="%(class)s_reason_known"
            ),
        )
        # For lists, which name the condition. It is true of all, and keeps the gate from taking this index for its own.
        indexes = (models.Index(fields=("owner", "-id"), condition=Q(id__gt=0), name="suppression_of_owner"),)

    def __str__(self) -> str:
        return f"{self.address} ({self.topic or 'everything'})"
