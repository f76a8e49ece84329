"""The decision desk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from jobs import decisions
from jobs.admin.facts import as_history, as_text
from jobs.admin.read_only import ReadOnly, TypeFilter
from jobs.errors import Refused
from jobs.models import DeadLetter
from jobs.states import Decision, Resolution

DECIDED_AT_ONCE = 500


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
    fieldsets = (
        (None, {"fields": ("id", "type", "reason", "error_text", "died_at", "owner")}),
        ("Decision", {"fields": ("resolution", "resolved_at", "resolved_by")}),
        ("Job", {"fields": ("shown_job", "job_status", "job_attempts", "correlation_id", "dedupe_key", "provider")}),
        ("What was tried", {"fields": ("history",)}),
        ("Payload", {"fields": ("payload",)}),
    )
    readonly_fields = (
        "error_text",
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
        return found.select_related("job", "owner").defer("job__payload")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_deadletter")

    # ── Decisions ─────────────────────────────────────────────────────────────────────────────

    @action(description="Requeue: try again with a new budget (not unknowns)", permissions=["decide"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._decide(request, queryset, "Requeued", lambda id: decisions.requeue(id, by=_person(request)))

    @action(description="Discard: put aside for good (not unknowns)", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._decide(request, queryset, "Discarded", lambda id: decisions.discard(id, by=_person(request)))

    @action(description="Unknowns: mark sent, it arrived", permissions=["decide"])
    def mark_sent(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._resolve(request, queryset, "Marked sent", Decision.MARK_SENT)

    @action(description="Unknowns: send again, it may arrive twice", permissions=["decide"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._resolve(request, queryset, "Queued to be sent again", Decision.SEND_AGAIN)

    @action(description="Unknowns: drop, let it be", permissions=["decide"])
    def drop(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._resolve(request, queryset, "Dropped", Decision.DROP)

    def _resolve(self, request: HttpRequest, queryset: QuerySet[DeadLetter], done: str, decision: Decision) -> None:
        self._decide(request, queryset, done, lambda id: decisions.resolve(id, decision, by=_person(request)))

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], done: str, decide: Callable[[int], None]
    ) -> None:
        """Each row on its own: one that is refused stops no other, and says why."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: DECIDED_AT_ONCE + 1])
        results: dict[tuple[int, str], list[int]] = defaultdict(list)
        for id in ids[:DECIDED_AT_ONCE]:
            try:
                decide(id)
                results[messages.SUCCESS, done].append(id)
            except Refused as refusal:
                results[messages.WARNING, f"Refused: {refusal.detail}"].append(id)
        for (level, text), decided in results.items():
            self.message_user(request, f"{text} ({len(decided)}: {', '.join(map(str, decided))})", level)
        if len(ids) > DECIDED_AT_ONCE:
            self.message_user(request, f"Only the first {DECIDED_AT_ONCE} were looked at.", messages.WARNING)

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


def _person(request: HttpRequest) -> int:
    assert request.user.pk is not None  # nobody gets here without logging in
    return request.user.pk
