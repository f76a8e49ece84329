"""The admin: a window on jobs and workers, and the decision desk for dead letters.

Everything is read-only. What people decide goes through the same functions that the API calls, one row at a
time, and every row's result is reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from jobs import decisions, payloads
from jobs.errors import Refused
from jobs.models import Attempt, DeadLetter, Job, Worker
from jobs.states import Decision, Resolution

COUNTED = 1000  # a list shows and counts no more than its newest rows
DECIDED_AT_ONCE = 500
SHOWN_CHARACTERS = 20_000

COLOURS = {"completed": "success", "failed": "danger", "unknown": "warning", "running": "info"}


class NewestRows(Paginator):
    """Pages over the newest rows only, so that nothing ever counts a whole table."""

    @cached_property
    def count(self) -> int:
        return self.object_list[:COUNTED].count()


class ReadOnly(ModelAdmin):
    """Nobody adds, changes or deletes here; who may look is Django's `view` permission."""

    paginator = NewestRows
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    sortable_by = ()
    search_by = "id"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By one exact id of a job; anything else would read the whole table."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(**{self.search_by: UUID(search_term.strip())}), False
        except ValueError:
            self.message_user(request, "Search for the whole id of a job.", messages.WARNING)
            return queryset.none(), False


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(type_, type_.replace("_", " ")) for type_ in payloads.SHAPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset


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
        self._decide(request, queryset, "Requeued", lambda id: decisions.requeue(id, by=request.user.pk))

    @action(description="Discard: put aside for good (not unknowns)", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._decide(request, queryset, "Discarded", lambda id: decisions.discard(id, by=request.user.pk))

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
        self._decide(request, queryset, done, lambda id: decisions.resolve(id, decision, by=request.user.pk))

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], done: str, decide: Callable[[int], None]
    ) -> None:
        """Each row on its own: one that is refused stops no other, and says why."""
        results: dict[tuple[int, str], list[int]] = defaultdict(list)
        for id in queryset.order_by("pk").values_list("pk", flat=True)[:DECIDED_AT_ONCE]:
            try:
                decide(id)
                results[messages.SUCCESS, done].append(id)
            except Refused as refusal:
                results[messages.WARNING, f"Refused: {refusal.detail}"].append(id)
        for (level, text), ids in results.items():
            self.message_user(request, f"{text} ({len(ids)}: {', '.join(map(str, ids))})", level)
        if queryset.count() > DECIDED_AT_ONCE:
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


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("id", "type", "shown_status", "priority", "attempts", "created_at", "owner")
    list_filter = ("status", TypeFilter, "priority")
    list_select_related = ("owner",)
    search_fields = ("id",)
    search_help_text = "The id of a job"
    fields = (
        "id",
        "owner",
        "type",
        "status",
        "priority",
        "attempts",
        "max_attempts",
        "deaths",
        "created_at",
        "updated_at",
        "run_at",
        "expires_at",
        "finished_at",
        "correlation_id",
        "idempotency_key",
        "dedupe_key",
        "on_unknown",
        "provider",
        "worker",
        "held_behind",
        "duplicate_of",
        "result_text",
        "error_text",
        "history",
        "payload_text",
    )
    readonly_fields = ("result_text", "error_text", "history", "payload_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        found: QuerySet[Job] = super().get_queryset(request)
        return found.defer("payload")  # lists show none, and a body may have megabytes

    @display(description="status", label=COLOURS)
    def shown_status(self, row: Job) -> str:
        return row.status

    @display(description="result")
    def result_text(self, row: Job) -> SafeString | str:
        return as_text(row.result)

    @display(description="last error")
    def error_text(self, row: Job) -> SafeString | str:
        return as_text(row.last_error)

    @display(description="attempts, one by one")
    def history(self, row: Job) -> SafeString | str:
        return as_history(row.id)

    @display(description="payload")
    def payload_text(self, row: Job) -> SafeString | str:
        return as_text(row.payload)


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "state", "in_flight", "completed", "started_at", "beat_at")
    list_filter = ("state",)
    ordering = ("name", "id")


def as_text(value: Any) -> SafeString | str:
    """JSON for people, escaped, and cut where an attachment would fill the page."""
    if value is None:
        return "-"
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[:SHOWN_CHARACTERS]}\n… and {len(text) - SHOWN_CHARACTERS} more characters"
    return format_html('<pre class="overflow-auto whitespace-pre-wrap break-words">{}</pre>', text)


def as_history(job_id: UUID) -> SafeString | str:
    """What was tried for a job, oldest first; the other side's words are escaped."""
    attempts = Attempt.objects.filter(job_id=job_id).order_by("id")
    lines = format_html_join(
        "",
        "<li><b>{}. {}</b> {} {} {} {}<br>{}</li>",
        (
            (
                a.number,
                a.outcome,
                f"{a.ended_at:%Y-%m-%d %H:%M:%S} UTC",
                a.provider or "",
                a.kind or "",
                "" if a.code is None else a.code,
                a.detail,
            )
            for a in attempts
        ),
    )
    return format_html("<ol>{}</ol>", lines) if lines else "-"
