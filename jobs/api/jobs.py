"""The views of jobs: accept, read, list, cancel."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import decisions, intake, requests
from jobs.api import examples, shapes
from jobs.api.base import View, answered
from jobs.api.filters import job_lookups
from jobs.api.keys import read_key
from jobs.api.paging import as_uuid, page
from jobs.api.parsers import read_job
from jobs.api.schema import IDEMPOTENCY_KEY, PAGING, describe, query
from jobs.errors import NotFound
from jobs.models import Job
from jobs.states import Status

REFUSALS = {
    400: "invalid",
    401: "token_not_valid",
    409: "idempotency_key_in_flight",
    413: "too_large",
    422: "idempotency_key_reused",
    429: "queue_full",
}
DESCRIPTION = """The answer comes after the commit: an accepted job is not lost, and the machine does not send it twice.

With an `Idempotency-Key` the request may be repeated for 24 hours: the same body gets the first answer again,
with `Idempotency-Replayed: true`; another body gets 422."""


def describe_accept(*, id: str, summary: str, request: str, request_examples: Any, status: int = 202) -> Any:
    """What the three ways of accepting a job have in common."""
    return describe(
        id=id,
        summary=summary,
        description=DESCRIPTION,
        tag="jobs",
        request=request,
        request_examples=request_examples,
        answers={status: ("AcceptedJob", "Accepted.")},
        answer_headers={status: ("Location", "Idempotency-Replayed")},
        problems=REFUSALS,
        parameters=[IDEMPOTENCY_KEY],
    )


class AddJobView(View):
    """Body: `{"email", "name"}`, or `{"type", "payload"}` and options."""

    status_code = 202

    @describe_accept(
        id="addJob",
        summary="Accept a job; `{email, name}` sends a welcome email",
        request="NewJob",
        request_examples=examples.JOBS,
    )
    def post(self, request: Request) -> HttpResponse:
        return self.accept(request)

    def accept(self, request: Request) -> HttpResponse:
        key = read_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        job = requests.read(read_job(request._request), idempotency_key=key)
        accepted = intake.accept(job, owner_id=self.caller_id, correlation_id=self.correlation_id)
        answer = shapes.accepted(accepted)
        headers = {"Location": answer.location}
        if accepted.is_replay:
            headers["Idempotency-Replayed"] = "true"
        return answered(answer, status=self.status_code, headers=headers)


class SubmitJobView(AddJobView):
    """The same for clients that say `name` for `type`, and expect 201."""

    status_code = 201

    @describe_accept(
        id="submitJob",
        summary="Accept a job written as `{name, payload}`",
        request="NamedJob",
        request_examples=examples.NAMED_JOBS,
        status=201,
    )
    def post(self, request: Request) -> HttpResponse:
        return self.accept(request)


class JobsView(AddJobView):
    """POST accepts one, GET lists the caller's own."""

    @describe_accept(id="createJob", summary="Accept a job", request="NewJob", request_examples=examples.JOBS)
    def post(self, request: Request) -> HttpResponse:
        return self.accept(request)

    @describe(
        id="listJobs",
        summary="Your jobs, newest first",
        tag="jobs",
        answers={200: ("JobPage", "One page.")},
        problems={400: "invalid", 401: "token_not_valid"},
        parameters=[
            query("status", "Where the job stands.", enum=list(Status)),
            query("type", "The job's type."),
            query("recipient", "One address among to, cc and bcc.", format="email"),
            query("since", "Accepted at this time or later.", format="date-time"),
            *PAGING,
        ],
    )
    def get(self, request: Request) -> Response:
        mine = Job.objects.filter(owner_id=self.caller_id, **job_lookups(request.query_params))
        found = page(request, mine, as_id=as_uuid)
        jobs = [shapes.job(row) for row in found.rows]
        return Response(shapes.JobPage(results=jobs, next=found.next, previous=found.previous))


class JobView(View):
    @describe(
        id="readJob",
        summary="One job of yours",
        tag="jobs",
        answers={200: ("Job", "The job as it stands now.")},
        problems={401: "token_not_valid", 404: "not_found"},
    )
    def get(self, request: Request, id: UUID) -> Response:
        job = Job.objects.filter(id=id, owner_id=self.caller_id).first()
        if job is None:
            raise NotFound
        return Response(shapes.job(job))


class CancelJobView(View):
    @describe(
        id="cancelJob",
        summary="Cancel a job that nobody has taken yet",
        tag="jobs",
        answers={200: ("Job", "The job; it will not be sent.")},
        problems={401: "token_not_valid", 404: "not_found", 409: "too_late"},
    )
    def post(self, request: Request, id: UUID) -> Response:
        return Response(shapes.job(decisions.cancel(id, owner_id=self.caller_id)))
