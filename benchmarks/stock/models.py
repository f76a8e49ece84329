"""One table, for a job as a first version would have it."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Message(models.Model):
    objects: models.Manager[Message] = models.Manager()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    type = models.CharField(max_length=50)
    payload = models.JSONField()
    status = models.CharField(max_length=20, default="queued")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"
