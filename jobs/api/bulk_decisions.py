"""The views of decisions about many dead letters: a preview first, and the same again to do it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import bulk_decisions
from jobs.api import examples, shapes
from jobs.api.base import View
from jobs.api.parsers import read_shape
from jobs.api.schema import describe
from jobs.api.selections import DiscardManyRequest, RedriveRequest, ResolveManyRequest, Selection, overrides, selected
from jobs.decisions import as_decision, clean_note
from jobs.resolutions import Outlook
from jobs.states import Resolution

DESCRIPTION = f"""By default this is a preview, which changes nothing: it counts how the selected dead letters stand and
says in one sentence what would be done. The same body with `"preview": false` does it, oldest first, in batches that
decide every row anew; the counts are then of what was really done.

One call looks at up to {bulk_decisions.MOST_AT_ONCE} dead letters. When there are more, `continue_after` is not null:
send it as `after` for the rest."""


def describe_many(*, id: str, summary: str, request: str, request_examples: dict[str, Any]) -> Any:
    """What the three have in common."""
    return describe(
        id=id,
        summary=summary,
        description=DESCRIPTION,
        tag="dead letters",
        request=request,
        request_examples=request_examples,
        answers={200: ("ManyDecided", "What would be, or was, done.")},
        problems={400: "invalid", 401: "token_not_valid", 413: "too_large"},
    )


class ManyView(View):
    """What they share: the selection, and the answer."""

    def decide(
        self, by: Selection, resolution: Resolution, *, note: str, overrides: Collection[Outlook] = ()
    ) -> Response:
        rows = selected(by, owner_id=self.caller_id)
        how: dict[str, Any] = {"overrides": overrides, "after": by.after}
        if by.preview:
            tally = bulk_decisions.preview(rows, resolution, **how)
        else:
            tally = bulk_decisions.decide(rows, resolution, by=self.caller_id, note=note, **how)
        return Response(shapes.many_decided(tally))


class RedriveView(ManyView):
    @describe_many(
        id="redriveFailedJobs",
        summary="Requeue many dead jobs; what was sent is left alone without an override",
        request="RedriveRequest",
        request_examples=examples.REDRIVES,
    )
    def post(self, request: Request) -> Response:
        body = read_shape(request._request, RedriveRequest)
        wanted = overrides(body)
        note = clean_note(body.note, is_required=bool(wanted))
        return self.decide(body, Resolution.REQUEUED, note=note, overrides=wanted)


class DiscardManyView(ManyView):
    @describe_many(
        id="discardFailedJobs",
        summary="Put many dead letters aside for good",
        request="DiscardManyRequest",
        request_examples=examples.DISCARDS,
    )
    def post(self, request: Request) -> Response:
        body = read_shape(request._request, DiscardManyRequest)
        return self.decide(body, Resolution.DISCARDED, note=clean_note(body.note))


class ResolveManyView(ManyView):
    @describe_many(
        id="resolveFailedJobs",
        summary="Decide many unknowns alike",
        request="ResolveManyRequest",
        request_examples=examples.RESOLUTIONS,
    )
    def post(self, request: Request) -> Response:
        body = read_shape(request._request, ResolveManyRequest)
        resolution = Resolution(as_decision(body.decision))
        return self.decide(body, resolution, note=clean_note(body.note))
