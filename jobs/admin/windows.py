"""The windows on jobs, destinations and workers."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from jobs.admin.facts import as_events, as_history, as_text
from jobs.admin.read_only import ReadOnly, TypeFilter
from jobs.models import Destination, Job, Worker

COLOURS = {"completed": "success", "failed": "danger", "unknown": "warning", "running": "info"}


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
        "events",
        "payload_text",
    )
    readonly_fields = ("result_text", "error_text", "history", "events", "payload_text")

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

    @display(description="what the email service told")
    def events(self, row: Job) -> SafeString | str:
        return as_events(row.id)

    @display(description="payload")
    def payload_text(self, row: Job) -> SafeString | str:
        return as_text(row.payload)


@admin.register(Destination)
class DestinationAdmin(ReadOnly):
    """Never what is sealed."""

    list_display = ("name", "kind", "hint", "owner", "updated_at", "disabled_at")
    list_filter = ("kind",)
    list_select_related = ("owner",)
    fields = ("name", "kind", "hint", "owner", "created_at", "updated_at", "disabled_at", "disabled_because")
    ordering = ("-id",)


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "state", "in_flight", "completed", "started_at", "beat_at")
    list_filter = ("state",)
    ordering = ("name", "id")
