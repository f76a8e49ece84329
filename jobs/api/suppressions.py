"""The views of the suppression list: read, add, lift."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import suppressions
from jobs.api import examples, suppression_shapes
from jobs.api.base import View
from jobs.api.filters import suppression_lookups, topic_of
from jobs.api.paging import as_number, page
from jobs.api.parsers import read_shape
from jobs.api.schema import PAGING, describe, query
from jobs.api.suppression_shapes import MOST, AddedSuppressions, NewSuppressions, SuppressionPage
from jobs.decisions import LONGEST_NOTE
from jobs.errors import InvalidRequest
from jobs.models import Suppression
from jobs.states import SuppressionReason

DESCRIPTION = f"""Up to {MOST} addresses get no more mail of yours, from the next job on that a worker takes up: with a
`topic` none that names it (`unsubscribe.topic` of its payload), without one none at all. They are left out, and the
other recipients of a job get their mail; a job that has no others becomes a dead letter of the reason `suppressed`."""
TOPIC = query("topic", "The topic; empty: everything.")


class SuppressionsView(View):
    @describe(
        id="addSuppressions",
        summary="Put addresses on your suppression list",
        description=DESCRIPTION,
        tag="suppressions",
        request="NewSuppressions",
        request_examples=examples.SUPPRESSIONS,
        answers={200: ("AddedSuppressions", "All of them are on the list.")},
        problems={400: "invalid", 401: "token_not_valid", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        wish = read_shape(request._request, NewSuppressions)
        _check(wish)
        added = suppressions.add(
            self.caller_id, wish.addresses, reason=wish.reason, detail=wish.detail, topic=wish.topic
        )
        return Response(AddedSuppressions(added=added, already_listed=len(wish.addresses) - added))

    @describe(
        id="listSuppressions",
        summary="Your suppression list, newest first",
        tag="suppressions",
        answers={200: ("SuppressionPage", "One page.")},
        problems={400: "invalid", 401: "token_not_valid"},
        parameters=[
            query("address", "One address, however it is written."),
            query("reason", "Why it is on the list.", enum=list(SuppressionReason)),
            TOPIC,
            *PAGING,
        ],
    )
    def get(self, request: Request) -> Response:
        lookups = suppression_lookups(request.query_params)
        mine = Suppression.objects.filter(owner_id=self.caller_id, id__gt=0, **lookups)  # as the index's condition says
        found = page(request, mine, as_id=as_number)
        results = [suppression_shapes.suppression(row) for row in found.rows]
        return Response(SuppressionPage(results=results, next=found.next, previous=found.previous))


class SuppressionView(View):
    @describe(
        id="liftSuppression",
        summary="Take an address off your suppression list",
        description="It gets mail again, from the next job on. Dead letters of the reason `suppressed` stay as they "
        "are: requeue those that are still of use.",
        tag="suppressions",
        answers={200: ("Suppression", "The entry as it was.")},
        problems={400: "invalid", 401: "token_not_valid", 404: "not_found"},
        parameters=[TOPIC],
    )
    def delete(self, request: Request, address: str) -> Response:
        topic = topic_of(request.query_params)
        return Response(suppression_shapes.suppression(suppressions.remove(self.caller_id, address, topic=topic)))


def _check(wish: NewSuppressions) -> None:
    if not 1 <= len(wish.addresses) <= MOST:
        raise InvalidRequest.field("addresses", f"Has {len(wish.addresses)} addresses; 1 to {MOST} in a call.")
    if len(wish.detail) > LONGEST_NOTE:
        raise InvalidRequest.field("detail", f"Has {len(wish.detail)} characters; at most {LONGEST_NOTE}.")
    if not wish.detail.isprintable():
        raise InvalidRequest.field("detail", "Only printable characters, on one line.")
