"""The views of batches: many jobs in one call, and how they stand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import batches, requests
from jobs.api import batch_shapes, examples
from jobs.api.base import View
from jobs.api.parsers import read_batch
from jobs.api.schema import describe
from jobs.errors import InvalidRequest, Refused
from jobs.requests import JobRequest

DESCRIPTION = f"""Up to {batches.MOST} jobs, each accepted or refused on its own. The answer comes after the commit:
what was accepted is not lost, and the machine does not send it twice.

Give each job an `idempotency_key`; then the same call may be repeated, and the jobs that it made are answered again
as `replayed`. `webhook` names one of your destinations, which is told, with the event `batch.completed`, when all new
jobs of the batch have ended. A header `Idempotency-Key` cannot stand for many jobs and is refused."""


class BatchesView(View):
    @describe(
        id="createBatch",
        summary="Accept many jobs in one call",
        description=DESCRIPTION,
        tag="jobs",
        request="NewBatch",
        request_examples=examples.BATCHES,
        answers={207: ("AcceptedBatch", "What became of each.")},
        problems={400: "invalid", 401: "token_not_valid", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        if "Idempotency-Key" in request.headers:
            raise InvalidRequest.field(
                "Idempotency-Key", "Give each job its own `idempotency_key` in the body instead."
            )
        body = read_batch(request._request)
        items = [_read(job) for job in _jobs(body)]
        batch, answers = batches.accept(
            items, owner_id=self.caller_id, correlation_id=self.correlation_id, webhook=_webhook(body)
        )
        return Response(batch_shapes.accepted_batch(batch, answers), status=207)


class BatchView(View):
    @describe(
        id="readBatch",
        summary="How the jobs of one batch of yours stand",
        tag="jobs",
        answers={200: ("Batch", "Their numbers, by status.")},
        problems={401: "token_not_valid", 404: "not_found"},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(batch_shapes.batch(*batches.standing(id, owner_id=self.caller_id)))


def _jobs(body: Any) -> list[Any]:
    jobs = body.get("jobs") if isinstance(body, dict) else None
    if not isinstance(jobs, list) or not jobs:
        raise InvalidRequest.field(
            "jobs", 'Required: a list of jobs, {"jobs": [{"type": "email", "payload": {…}}, …]}.'
        )
    if unknown := sorted(set(body) - {"jobs", "webhook"}):
        raise InvalidRequest.field(unknown[0], "Unknown field. Known: jobs, webhook.")
    if len(jobs) > batches.MOST:
        raise InvalidRequest.field(
            "jobs", f"Has {len(jobs)} jobs; at most {batches.MOST}. Send the rest in another call."
        )
    return jobs


def _webhook(body: Any) -> str | None:
    name = body.get("webhook")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest.field("webhook", "The name of a webhook of yours, from /destinations.")
    return name


def _read(body: Any) -> JobRequest | Refused:
    try:
        return requests.read(body)
    except Refused as refusal:
        return refusal
