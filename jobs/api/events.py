"""The view of what email services told of a job's mail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import models
from jobs.api.base import View
from jobs.api.schema import describe
from jobs.errors import NotFound
from jobs.states import EventKind

MOST = 1000


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened to the job's mail, as its email service told it."""

    kind: EventKind
    at: Annotated[datetime, Meta(description="The service's time, or ours where it gives none.")]
    recipient: Annotated[str | None, Meta(description="Null where the service does not say whom it is about.")]
    esp: Annotated[str, Meta(description="The email service.", examples=["postmark"])]
    reason: Annotated[str | None, Meta(description="Why it was not delivered, in one word, where that is known.")]
    detail: Annotated[str, Meta(description="What the receiving server or the service said, shortened.")]


class EventList(Struct, frozen=True, kw_only=True):
    """What happened to the job's mail, oldest first; at most 1000."""

    results: list[Event]


class EventsView(View):
    @describe(
        id="listJobEvents",
        summary="What became of a job's mail, as its email service told it",
        tag="jobs",
        answers={200: ("EventList", "What was told so far.")},
        problems={401: "token_not_valid", 404: "not_found"},
    )
    def get(self, request: Request, id: UUID) -> Response:
        if not models.Job.objects.filter(id=id, owner_id=self.caller_id).exists():
            raise NotFound
        rows = models.Event.objects.filter(job_id=id).order_by("at", "id")[:MOST]
        return Response(EventList(results=[_event(row) for row in rows]))


def _event(row: models.Event) -> Event:
    return Event(
        kind=EventKind(row.kind),
        at=row.at,
        recipient=row.recipient or None,
        esp=row.esp,
        reason=row.reason or None,
        detail=row.detail,
    )
