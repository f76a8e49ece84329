"""The tables. Shapes and what PostgreSQL refuses; every write to state is in transitions, rescues, resolutions."""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.utils.translation import gettext_lazy as _

from jobs.event_table import Event as Event
from jobs.schedule_table import Schedule as Schedule
from jobs.states import (
    FINAL,
    LIVE,
    RARE,
    DeliveryState,
    DestinationKind,
    Lane,
    OnUnknown,
    Priority,
    Reason,
    Resolution,
    Status,
)
from jobs.suppression_table import Suppression as Suppression
from jobs.template_models import Template as Template
from jobs.template_models import TemplateVersion as TemplateVersion
from jobs.worker_table import Worker as Worker


def _choices(words: type[StrEnum]) -> list[tuple[str, str]]:
    return [(word.value, word.value.replace("_", " ")) for word in words]


def _one_of(field: str, words: type[StrEnum]) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(**{f"{field}__in": [word.value for word in words]}), name=f"%(class)s_{field}_known"
    )


class Job(models.Model):
    """One message, from acceptance to a final state."""

    id = models.UUIDField(primary_key=True)  # UUIDv7: ordered by time, so lists page by it
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs", db_index=False)
    type = models.TextField()
    lane = models.TextField(choices=_choices(Lane), db_default=Lane.MESSAGES.value)  # its type's when it was accepted
    priority = models.TextField(choices=_choices(Priority))
    status = models.TextField(choices=_choices(Status))
    accepted_as = models.TextField(choices=_choices(Status))  # the first answer, for replays
    batch_id = models.UUIDField(null=True)  # of the call that brought it with others; no foreign key, as of old ones
    payload = models.JSONField(null=True)  # null once retention took the body
    recipients = models.JSONField(default=list)
    correlation_id = models.TextField()
    traceparent = models.TextField(null=True)  # of the span in which it was accepted, where tracing is on (W3C)

    idempotency_key = models.TextField(null=True)
    idempotency_open = models.BooleanField(default=False)  # the key is within its window
    fingerprint = models.BinaryField(max_length=16)  # of the request: same key, other body → 422
    dedupe_key = models.TextField(null=True)
    dedupe_hash = models.BinaryField(max_length=16)  # of owner and key, or its own id: its row of the gate

    attempts = models.SmallIntegerField(default=0)  # a budget, never a fence
    max_attempts = models.SmallIntegerField()
    deaths = models.SmallIntegerField(default=0)  # workers that it may have killed
    run_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    on_unknown = models.TextField(choices=_choices(OnUnknown))
    provider = models.TextField(null=True)

    worker = models.UUIDField(null=True)
    claim = models.BigIntegerField(null=True)  # the fence: new for every claim, never reused
    in_doubt = models.BooleanField(default=False)  # an earlier dot of this job may still be accepted
    held_behind = models.UUIDField(null=True)  # the unknown job of the same key that this one waits for
    duplicate_of = models.UUIDField(null=True)

    result = models.JSONField(null=True)
    last_error = models.JSONField(null=True)
    pushed_at = models.DateTimeField(null=True)  # when its id last went to Redis
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "idempotency_key"), condition=Q(idempotency_open=True), name="job_idempotency_key"
            ),
            _one_of("status", Status),
            _one_of("priority", Priority),
            _one_of("on_unknown", OnUnknown),
            models.CheckConstraint(
                condition=Q(status__in=sorted(FINAL), finished_at__isnull=False)
                | (~Q(status__in=sorted(FINAL)) & Q(finished_at__isnull=True)),
                name="job_final_has_its_time",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.RUNNING.value) | Q(worker__isnull=False, claim__isnull=False),
                name="job_running_has_claim",
            ),
            models.CheckConstraint(
                condition=Q(held_behind__isnull=True) | Q(status=Status.UNKNOWN.value), name="job_held_is_unknown"
            ),
        )
        indexes = (
            models.Index(fields=("owner", "-id"), name="job_of_owner"),
            models.Index(
                fields=("owner", "status", "-id"),
                condition=Q(status__in=sorted(status.value for status in RARE)),
                name="job_of_owner_by_status",
            ),
            models.Index(fields=("batch_id",), condition=Q(batch_id__isnull=False), name="job_of_batch"),
            models.Index(
                fields=("batch_id",),
                condition=Q(batch_id__isnull=False, status__in=sorted(status.value for status in LIVE)),
                name="job_of_batch_under_way",
            ),
            models.Index(fields=("run_at",), condition=Q(status=Status.SCHEDULED.value), name="job_due"),
            models.Index(
                fields=("lane", "priority", "pushed_at"), condition=Q(status=Status.QUEUED.value), name="job_waiting"
            ),
            models.Index(fields=("worker",), condition=Q(status=Status.RUNNING.value), name="job_running"),
            models.Index(fields=("dedupe_hash",), condition=Q(status=Status.UNKNOWN.value), name="job_unknown"),
            models.Index(fields=("created_at",), condition=Q(idempotency_open=True), name="job_idempotency_window"),
            models.Index(fields=("finished_at",), condition=Q(finished_at__isnull=False), name="job_finished"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Batch(models.Model):
    """Jobs that came in one call, and whose outcome is rolled up."""

    id = models.UUIDField(primary_key=True)  # UUIDv7
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    accepted = models.SmallIntegerField()  # replays among them: they are jobs of an earlier call
    rejected = models.SmallIntegerField()
    created_at = models.DateTimeField()
    webhook = models.TextField(null=True)  # the destination that is told when all its jobs have ended
    told_at = models.DateTimeField(null=True)
    told_by = models.UUIDField(null=True)  # the webhook's job …
    untold_because = models.TextField(null=True)  # … or why there is none

    class Meta:
        verbose_name_plural = "batches"
        indexes = (
            models.Index(fields=("id",), condition=Q(webhook__isnull=False, told_at__isnull=True), name="batch_untold"),
        )

    def __str__(self) -> str:
        return f"{self.accepted} jobs {self.id}"


class Delivery(models.Model):
    """The L2 row: one per dedupe key, for ever. Its primary key is the UNIQUE constraint that decides."""

    dedupe_hash = models.BinaryField(primary_key=True, max_length=16)
    job_id = models.UUIDField()  # no foreign key: that a message was sent outlives the job's row
    claim = models.BigIntegerField(null=True)
    state = models.TextField(choices=_choices(DeliveryState))
    provider = models.TextField(null=True)
    claimed_at = models.DateTimeField()
    dot_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            _one_of("state", DeliveryState),
            models.CheckConstraint(
                condition=~Q(
                    state__in=[DeliveryState.CLAIMED.value, DeliveryState.DOT.value, DeliveryState.UNKNOWN.value]
                )
                | Q(claim__isnull=False),
                name="delivery_live_has_claim",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[DeliveryState.DOT.value, DeliveryState.UNKNOWN.value])
                | Q(dot_at__isnull=False),
                name="delivery_marked_has_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.state} {self.job_id}"


class Attempt(models.Model):
    """History, append only: how each claim of a job ended."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField()
    claim = models.BigIntegerField()
    number = models.SmallIntegerField()
    worker = models.UUIDField(null=True)
    provider = models.TextField(null=True)
    outcome = models.TextField()
    kind = models.TextField(null=True)
    code = models.IntegerField(null=True)
    detail = models.TextField(default="")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField()

    class Meta:
        ordering = ("id",)
        constraints = (
            # A settlement repeated after a lost answer adds nothing; a late reply, another provider adds its own line.
            models.UniqueConstraint(fields=("claim", "outcome", "provider"), nulls_distinct=False, name="attempt_once"),
        )
        indexes = (models.Index(fields=("job_id", "id"), name="attempt_of_job"),)

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"


class DeadLetter(models.Model):
    """The DLQ: one row per episode that needs, or needed, somebody's eyes."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dead_letters", db_index=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    type = models.TextField()
    reason = models.TextField(choices=_choices(Reason))
    error = models.JSONField(null=True)
    claim = models.BigIntegerField(null=True)  # the episode: a decision names it, so that none is stale
    died_at = models.DateTimeField(_("died"))
    resolution = models.TextField(choices=_choices(Resolution), null=True)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )  # null with a resolution: the machine, by policy, by a late reply or by what a provider said when asked
    note = models.TextField(db_default="")  # why, in the words of whoever decided
    evidence = models.JSONField(db_default=Value([], output_field=models.JSONField()))  # a provider's answers, in order
    asks = models.SmallIntegerField(db_default=0)  # how often the provider was asked …
    asked_at = models.DateTimeField(null=True)  # … and when last

    class Meta:
        ordering = ("-id",)
        constraints = (
            _one_of("reason", Reason),
            models.CheckConstraint(
                condition=Q(resolution__isnull=True, resolved_at__isnull=True)
                | Q(resolution__isnull=False, resolved_at__isnull=False),
                name="deadletter_resolution_has_time",
            ),
            # An episode is told once, however often its settlement is repeated.
            models.UniqueConstraint(fields=("job", "claim", "reason"), name="deadletter_once_per_episode"),
        )
        indexes = (
            models.Index(fields=("owner", "-id"), name="deadletter_of_owner"),
            models.Index(fields=("reason", "-id"), condition=Q(resolution__isnull=True), name="deadletter_open"),
            models.Index(fields=("resolved_at",), condition=Q(resolution__isnull=False), name="deadletter_decided"),
        )

    def __str__(self) -> str:
        return f"{self.reason} {self.job_id}"


class Destination(models.Model):
    """A named receiver of webhooks or notifications. Where it is, and its secrets, are encrypted (sealing.py)."""

    id = models.UUIDField(primary_key=True)  # UUIDv7
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.TextField()
    kind = models.TextField(choices=_choices(DestinationKind))
    hint = models.TextField()  # what people may see of the address: its host, or the service's name
    sealed = models.BinaryField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    disabled_at = models.DateTimeField(null=True)
    disabled_because = models.TextField(null=True)

    class Meta:
        constraints = (
            _one_of("kind", DestinationKind),
            models.UniqueConstraint(fields=("owner", "name"), name="destination_name"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
