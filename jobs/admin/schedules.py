"""The window on schedules, with a brake."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from jobs import schedules
from jobs.admin.facts import as_text
from jobs.admin.read_only import COUNTED, ReadOnly, TypeFilter
from jobs.errors import Refused
from jobs.models import Schedule

Move = Callable[[UUID], Schedule]


@admin.register(Schedule)
class ScheduleAdmin(ReadOnly):
    """Pausing and resuming takes Django's `change` permission on schedules."""

    list_display = ("name", "owner", "type", "cron", "time_zone", "next_at", "last_at", "shown_state")
    list_filter = ("paused", TypeFilter, "missed")
    list_select_related = ("owner",)
    search_fields = ("id",)
    search_help_text = "The id of a schedule"
    search_what = "schedule"
    actions = ("pause", "resume")
    fieldsets = (
        (None, {"fields": ("id", "name", "owner", "shown_state", "pause_reason")}),
        ("When", {"fields": ("cron", "time_zone", "missed", "next_at", "last_at", "last_job_id")}),
        ("Its jobs", {"fields": ("type", "options_text", "payload_text")}),
        ("Record", {"fields": ("created_at", "updated_at")}),
    )
    readonly_fields = ("shown_state", "options_text", "payload_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        found: QuerySet[Schedule] = super().get_queryset(request)
        return found.defer("payload")

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("jobs.change_schedule")

    @action(description="Pause: make no jobs until resumed", permissions=["decide"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._move_many(request, queryset, _pause_by(request), "paused")

    @action(description="Resume: from the next time to come", permissions=["decide"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._move_many(request, queryset, _resume, "resumed")

    def _move_many(self, request: HttpRequest, rows: QuerySet[Schedule], move: Move, done: str) -> None:
        """Each on its own, and a message for each that could not be."""
        moved = 0
        for schedule_id, name in rows.order_by("-id").values_list("id", "name")[:COUNTED]:
            try:
                move(schedule_id)
                moved += 1
            except Refused as refusal:
                self.message_user(request, f"{name}: {refusal.detail}", messages.WARNING)
        if moved:
            self.message_user(request, f"{moved} {done}.", messages.SUCCESS)

    @display(description="state", label={"paused": "warning", "running": "success"})
    def shown_state(self, row: Schedule) -> str:
        return "paused" if row.paused else "running"

    @display(description="options")
    def options_text(self, row: Schedule) -> SafeString | str:
        return as_text(row.options)

    @display(description="payload")
    def payload_text(self, row: Schedule) -> SafeString | str:
        return as_text(row.payload)


def _pause_by(request: HttpRequest) -> Move:
    """Its owner reads who did it."""
    return partial(schedules.pause, owner_id=None, reason=f"Paused by {request.user.get_username()} (operator).")


_resume: Move = partial(schedules.resume, owner_id=None)
