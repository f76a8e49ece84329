"""The decision desk."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display

from jobs.admin.confirmation import confirm
from jobs.admin.facts import as_evidence, as_history, as_text
from jobs.admin.read_only import ReadOnly, TypeFilter
from jobs.models import DeadLetter
from jobs.states import Reason, Resolution

BUTTONS = {Reason.UNKNOWN: {"mark_sent", "send_again", "drop"}, Reason.DROPPED: {"discard"}}
BUTTONS_OF_THE_DEAD = {"requeue", "discard"}


class ResolutionFilter(admin.SimpleListFilter):
    title = "resolution"
    parameter_name = "resolution"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "undecided"), *((word.value, word.value.replace("_", " ")) for word in Resolution)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "open":
            return queryset.filter(resolution=None)
        return queryset.filter(resolution=self.value()) if self.value() else queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """The decision desk. Deciding takes Django's `change` permission on dead letters."""

    list_display = ("id", "shown_job", "type", "shown_reason", "shown_resolution", "died_at", "owner")
    list_filter = ("reason", ResolutionFilter, TypeFilter, "died_at")
    list_select_related = ("owner",)
    search_fields = ("job_id",)
    search_by = "job_id"
    search_help_text = "The id of a job"
    actions = ("requeue", "discard", "mark_sent", "send_again", "drop")
    actions_detail = ("requeue_this", "discard_this", "mark_sent_this", "send_again_this", "drop_this")
    fieldsets = (
        (None, {"fields": ("id", "type", "reason", "error_text", "died_at", "owner")}),
        ("Decision", {"fields": ("resolution", "resolved_at", "decided_by", "why")}),
        ("What the provider said", {"fields": ("evidence_text",)}),
        ("Job", {"fields": ("shown_job", "job_status", "job_attempts", "correlation_id", "dedupe_key", "provider")}),
        ("What was tried", {"fields": ("history",)}),
        ("Payload", {"fields": ("payload",)}),
    )
    readonly_fields = (
        "error_text",
        "decided_by",
        "why",
        "evidence_text",
        "shown_job",
        "job_status",
        "job_attempts",
        "correlation_id",
        "dedupe_key",
        "provider",
        "history",
        "payload",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        found: QuerySet[DeadLetter] = super().get_queryset(request)
        return found.select_related("job", "owner", "resolved_by").defer("job__payload")

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("jobs.change_deadletter")

    # ── Decisions about those that are selected in the list ───────────────────────────────────

    @action(description="Requeue: try again with a new budget (not unknowns)", permissions=["decide"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return self._decide_many(request, queryset, Resolution.REQUEUED)

    @action(description="Discard: put aside for good (not unknowns)", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return self._decide_many(request, queryset, Resolution.DISCARDED)

    @action(description="Unknowns: mark sent, it arrived", permissions=["decide"])
    def mark_sent(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return self._decide_many(request, queryset, Resolution.MARK_SENT)

    @action(description="Unknowns: send again, it may arrive twice", permissions=["decide"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return self._decide_many(request, queryset, Resolution.SEND_AGAIN)

    @action(description="Unknowns: drop, let it be", permissions=["decide"])
    def drop(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return self._decide_many(request, queryset, Resolution.DROP)

    def _decide_many(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], resolution: Resolution
    ) -> HttpResponse:
        return confirm(self, request, queryset, resolution, back=request.get_full_path())

    # ── Decisions about the one that is shown ─────────────────────────────────────────────────

    @action(description="Requeue", url_path="requeue", permissions=["decide"])
    def requeue_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_one(request, object_id, Resolution.REQUEUED)

    @action(description="Discard", url_path="discard", permissions=["decide"])
    def discard_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_one(request, object_id, Resolution.DISCARDED)

    @action(description="Mark sent", url_path="mark_sent", permissions=["decide"])
    def mark_sent_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_one(request, object_id, Resolution.MARK_SENT)

    @action(description="Send again", url_path="send_again", permissions=["decide"])
    def send_again_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_one(request, object_id, Resolution.SEND_AGAIN)

    @action(description="Drop", url_path="drop", permissions=["decide"])
    def drop_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_one(request, object_id, Resolution.DROP)

    def _decide_one(self, request: HttpRequest, object_id: str, resolution: Resolution) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        back = reverse("admin:jobs_deadletter_change", args=[row.pk])
        return confirm(self, request, DeadLetter.objects.filter(pk=row.pk), resolution, back=back)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """The buttons of a dead letter: those that fit it, and none once it is decided."""
        row = self.get_object(request, unquote(str(object_id)))
        if row is None or row.resolution:
            return []
        fitting = BUTTONS.get(Reason(row.reason), BUTTONS_OF_THE_DEAD)
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return [button for button in allowed if button.path in fitting]

    # ── Columns and fields ────────────────────────────────────────────────────────────────────

    @display(description="job")
    def shown_job(self, row: DeadLetter) -> str:
        return str(row.job_id)

    @display(description="reason", label={"unknown": "warning", "permanent": "danger", "exhausted": "danger"})
    def shown_reason(self, row: DeadLetter) -> str:
        return row.reason

    @display(description="resolution", empty_value="undecided")
    def shown_resolution(self, row: DeadLetter) -> str | None:
        return row.resolution

    @display(description="decided by", empty_value="-")
    def decided_by(self, row: DeadLetter) -> str | None:
        """Nobody in person: a policy, a late reply, or what the provider said."""
        return str(row.resolved_by or "the machine") if row.resolution else None

    @display(description="why", empty_value="-")
    def why(self, row: DeadLetter) -> str | None:
        return row.note or None

    @display(description="answers")
    def evidence_text(self, row: DeadLetter) -> SafeString | str:
        return as_evidence(row.evidence)

    @display(description="error")
    def error_text(self, row: DeadLetter) -> SafeString | str:
        return as_text(row.error)

    @display(description="status")
    def job_status(self, row: DeadLetter) -> str:
        return row.job.status

    @display(description="attempts")
    def job_attempts(self, row: DeadLetter) -> str:
        return f"{row.job.attempts} of {row.job.max_attempts}"

    @display(description="correlation id")
    def correlation_id(self, row: DeadLetter) -> str:
        return row.job.correlation_id

    @display(description="dedupe key")
    def dedupe_key(self, row: DeadLetter) -> str | None:
        return row.job.dedupe_key

    @display(description="provider asked for")
    def provider(self, row: DeadLetter) -> str | None:
        return row.job.provider

    @display(description="payload")
    def payload(self, row: DeadLetter) -> SafeString | str:
        return as_text(row.job.payload)

    @display(description="attempts")
    def history(self, row: DeadLetter) -> SafeString | str:
        return as_history(row.job_id)
