"""The views of schedules: make, list, read, pause, resume, delete."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import schedules
from jobs.api import examples, schedule_shapes
from jobs.api.base import View
from jobs.api.filters import schedule_lookups
from jobs.api.paging import as_uuid, page
from jobs.api.parsers import read_json
from jobs.api.schema import PAGING, describe, query
from jobs.models import Schedule

MISSING = {401: "token_not_valid", 404: "not_found"}
DESCRIPTION = """At each time of its cron expression an ordinary job is made, which is read, listed and dead-lettered as
any other. However many clocks run, and whatever dies, each time makes one job. The job is checked now as POST /jobs
checks it, and again whenever it is made: if it is refused then, the schedule is paused, and `pause_reason` says why."""


class SchedulesView(View):
    @describe(
        id="createSchedule",
        summary="Make a job again and again, by a cron expression",
        description=DESCRIPTION,
        tag="schedules",
        request="NewSchedule",
        request_examples=examples.SCHEDULES,
        answers={201: ("Schedule", "Made; `next_times` says when it will make its first jobs.")},
        answer_headers={201: ("Location",)},
        problems={400: "invalid", 401: "token_not_valid", 409: "name_taken", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        made = schedules.create(schedules.read(read_json(request._request)), owner_id=self.caller_id)
        return Response(schedule_shapes.schedule(made), status=201, headers={"Location": f"/schedules/{made.id}"})

    @describe(
        id="listSchedules",
        summary="Your schedules, newest first",
        tag="schedules",
        answers={200: ("SchedulePage", "One page.")},
        problems={400: "invalid", 401: "token_not_valid"},
        parameters=[
            query("type", "The type of its jobs."),
            query("paused", "Whether it is paused.", enum=["true", "false"]),
            *PAGING,
        ],
    )
    def get(self, request: Request) -> Response:
        mine = Schedule.objects.filter(owner_id=self.caller_id, **schedule_lookups(request.query_params))
        found = page(request, mine, as_id=as_uuid)
        results = [schedule_shapes.schedule(row) for row in found.rows]
        return Response(schedule_shapes.SchedulePage(results=results, next=found.next, previous=found.previous))


class ScheduleView(View):
    http_method_names = [*View.http_method_names, "delete"]

    @describe(
        id="readSchedule",
        summary="One schedule of yours",
        tag="schedules",
        answers={200: ("Schedule", "The schedule as it stands now.")},
        problems=MISSING,
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(schedule_shapes.schedule(schedules.own(id, owner_id=self.caller_id)))

    @describe(
        id="deleteSchedule",
        summary="Delete a schedule; the jobs that it has made stay",
        tag="schedules",
        answers={200: ("Schedule", "The schedule as it was.")},
        problems=MISSING,
    )
    def delete(self, request: Request, id: UUID) -> Response:
        return Response(schedule_shapes.schedule(schedules.delete(id, owner_id=self.caller_id)))


class PauseScheduleView(View):
    @describe(
        id="pauseSchedule",
        summary="Make no jobs until it is resumed",
        tag="schedules",
        answers={200: ("Schedule", "Paused. Times that pass meanwhile are nobody's miss.")},
        problems=MISSING,
    )
    def post(self, request: Request, id: UUID) -> Response:
        paused = schedules.pause(id, owner_id=self.caller_id, reason="Paused by its owner.")
        return Response(schedule_shapes.schedule(paused))


class ResumeScheduleView(View):
    @describe(
        id="resumeSchedule",
        summary="Make jobs again, from the next time to come",
        tag="schedules",
        answers={200: ("Schedule", "It is not paused.")},
        problems=MISSING | {400: "invalid"},
    )
    def post(self, request: Request, id: UUID) -> Response:
        return Response(schedule_shapes.schedule(schedules.resume(id, owner_id=self.caller_id)))
