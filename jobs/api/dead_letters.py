"""The views of dead letters: list, read, decide."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import decisions
from jobs.api import examples, shapes
from jobs.api.base import View
from jobs.api.filters import dead_letter_lookups
from jobs.api.paging import LARGEST_ID, as_number, page
from jobs.api.parsers import read_shape
from jobs.api.schema import PAGING, describe, query
from jobs.api.selections import DecisionRequest, DiscardRequest, RequeueRequest
from jobs.decisions import as_decision, clean_note
from jobs.errors import NotFound
from jobs.models import DeadLetter
from jobs.states import Reason

MISSING = {401: "token_not_valid", 404: "not_found"}
REFUSALS = MISSING | {400: "invalid", 409: "too_late", 413: "too_large"}


class DeadLettersView(View):
    @describe(
        id="listFailedJobs",
        summary="Your dead letters, newest first",
        tag="dead letters",
        answers={200: ("DeadLetterPage", "One page.")},
        problems={400: "invalid", 401: "token_not_valid"},
        parameters=[
            query("reason", "Why it died; `unknown` lists what waits for a decision.", enum=list(Reason)),
            query("type", "The type of its job."),
            query("since", "Died at this time or later.", format="date-time"),
            query("until", "Died before this time.", format="date-time"),
            query("resolved", "Whether somebody has decided it.", enum=["true", "false"]),
            *PAGING,
        ],
    )
    def get(self, request: Request) -> Response:
        mine = _with_jobs().filter(owner_id=self.caller_id, **dead_letter_lookups(request.query_params))
        found = page(request, mine, as_id=as_number)
        results = shapes.dead_letters(found.rows)
        return Response(shapes.DeadLetterPage(results=results, next=found.next, previous=found.previous))


class OneDeadLetterView(View):
    """What all views of one dead letter share: it is the caller's own, and they answer it."""

    def own(self, id: int) -> DeadLetter:
        row = _with_jobs().filter(id=id, owner_id=self.caller_id).first() if id <= LARGEST_ID else None
        if row is None:
            raise NotFound
        return row

    def answer(self, id: int) -> Response:
        return Response(shapes.dead_letters([self.own(id)])[0])


class DeadLetterView(OneDeadLetterView):
    @describe(
        id="readFailedJob",
        summary="One dead letter of yours",
        tag="dead letters",
        answers={200: ("DeadLetter", "The dead letter, with all that was tried.")},
        problems=MISSING,
    )
    def get(self, request: Request, id: int) -> Response:
        return self.answer(id)


class RequeueView(OneDeadLetterView):
    @describe(
        id="requeueFailedJob",
        summary="Try a dead job again, with a new budget of attempts",
        description="409 `already_sent` when another job of its key was sent, unless the body says "
        '`{"override": true, "note": "why"}`; 409 `in_flight` while another job of its key is on its way.',
        tag="dead letters",
        request="RequeueRequest",
        request_is_optional=True,
        request_examples=examples.REQUEUES,
        answers={200: ("DeadLetter", "Decided: `resolution` is `requeued` or `override`, and its job is queued.")},
        problems=REFUSALS,
    )
    def post(self, request: Request, id: int) -> Response:
        body = read_shape(request._request, RequeueRequest, empty=RequeueRequest())
        note = clean_note(body.note, is_required=body.override)
        decisions.requeue(self.own(id).id, by=self.caller_id, note=note, override=body.override)
        return self.answer(id)


class DiscardView(OneDeadLetterView):
    @describe(
        id="discardFailedJob",
        summary="Put a dead letter aside for good",
        tag="dead letters",
        request="DiscardRequest",
        request_is_optional=True,
        answers={200: ("DeadLetter", "Decided: `resolution` is `discarded`; its job stays failed.")},
        problems=REFUSALS,
    )
    def post(self, request: Request, id: int) -> Response:
        body = read_shape(request._request, DiscardRequest, empty=DiscardRequest())
        decisions.discard(self.own(id).id, by=self.caller_id, note=clean_note(body.note))
        return self.answer(id)


class ResolveView(OneDeadLetterView):
    @describe(
        id="resolveFailedJob",
        summary="Decide an unknown: nobody can know whether the message went out",
        tag="dead letters",
        request="DecisionRequest",
        request_examples=examples.DECISIONS,
        answers={200: ("DeadLetter", "Decided, with who, when and why on record.")},
        problems=REFUSALS,
    )
    def post(self, request: Request, id: int) -> Response:
        body = read_shape(request._request, DecisionRequest)
        decision, note = as_decision(body.decision), clean_note(body.note)
        decisions.resolve(self.own(id).id, decision, by=self.caller_id, note=note)
        return self.answer(id)


def _with_jobs() -> QuerySet[DeadLetter]:
    return DeadLetter.objects.select_related("job", "resolved_by")
