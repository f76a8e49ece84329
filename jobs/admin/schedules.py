"""The window on schedules, with a brake."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
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
    actions_detail = ("pause_this", "resume_this")
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

    @action(description="Pause", url_path="pause", permissions=["decide"])
    def pause_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move_one(request, object_id, _pause_by(request), "paused")

    @action(description="Resume", url_path="resume", permissions=["decide"])
    def resume_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move_one(request, object_id, _resume, "resumed")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """The one of the two buttons that would change something."""
        row = self.get_object(request, unquote(str(object_id)))
        fitting = "resume" if row is not None and row.paused else "pause"
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return [button for button in allowed if button.path == fitting]

    def _move_one(self, request: HttpRequest, object_id: str, move: Move, done: str) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        self._move_many(request, Schedule.objects.filter(pk=row.pk), move, done)
        return HttpResponseRedirect(reverse("admin:jobs_schedule_change", args=[row.pk]))

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
