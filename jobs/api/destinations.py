"""The views of destinations. What was written to one is never shown again, but for a secret that was just made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import destinations, models
from jobs.api import examples
from jobs.api.base import View
from jobs.api.parsers import read_shape
from jobs.api.schema import describe
from jobs.states import DestinationKind

DESCRIPTION = """A webhook's receiver gets `POST` requests as Standard Webhooks describes them, signed with `secret`.
Without one the receiver keeps the secret that it has, or one is made and answered, this once. A notification's `url` is
one of Apprise's. Both are encrypted and never shown again. A destination that was disabled, because its receiver
answered 410 Gone, is enabled by writing it anew."""


class NewDestination(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where webhooks or notifications go."""

    kind: DestinationKind
    url: Annotated[
        str,
        Meta(
            description="https://… of a webhook's receiver, or Apprise's address of a service.",
            examples=["https://hooks.example.org/orders"],
        ),
    ]
    secret: Annotated[
        str | None, Meta(description="`whsec_` and 24 to 64 bytes in base64. Webhooks only.", examples=[None])
    ] = None


class Destination(Struct, frozen=True, kw_only=True):
    """A destination, without what is secret about it."""

    name: str
    kind: DestinationKind
    hint: Annotated[str, Meta(description="The receiver's host, or the service's name.")]
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    disabled_because: Annotated[str | None, Meta(description="What its receiver said; write it anew to enable it.")]
    secret: Annotated[
        str | None, Meta(description="Made by this very request, for the receiver to check signatures; else null.")
    ] = None


class DestinationList(Struct, frozen=True, kw_only=True):
    """All of yours, by name."""

    results: list[Destination]


class DestinationsView(View):
    @describe(
        id="listDestinations",
        summary="Your destinations",
        tag="destinations",
        answers={200: ("DestinationList", f"All of them, by name; you can have {destinations.MOST}.")},
        problems={401: "token_not_valid"},
    )
    def get(self, request: Request) -> Response:
        return Response(DestinationList(results=[_shape(row) for row in destinations.all_of(self.caller_id)]))


class DestinationView(View):
    @describe(
        id="readDestination",
        summary="One of your destinations",
        tag="destinations",
        answers={200: ("Destination", "Without its address and secret.")},
        problems={401: "token_not_valid", 404: "not_found"},
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(_shape(destinations.of_name(self.caller_id, name)))

    @describe(
        id="putDestination",
        summary="Make a destination, or write it anew",
        description=DESCRIPTION,
        tag="destinations",
        request="NewDestination",
        request_examples=examples.DESTINATIONS,
        answers={
            200: ("Destination", "It was there, and is written anew."),
            201: ("Destination", "It was made."),
        },
        problems={400: "invalid", 401: "token_not_valid", 413: "too_large"},
    )
    def put(self, request: Request, name: str) -> Response:
        wish = read_shape(request._request, NewDestination)
        written = destinations.put(self.caller_id, name, kind=wish.kind, url=wish.url, secret=wish.secret)
        return Response(_shape(written.row, written.new_secret), status=201 if written.is_new else 200)

    @describe(
        id="deleteDestination",
        summary="Delete a destination",
        description="Jobs that name it become dead letters, unless it is made again before their turn.",
        tag="destinations",
        answers={200: ("Destination", "It was there, and is not any more.")},
        problems={401: "token_not_valid", 404: "not_found"},
    )
    def delete(self, request: Request, name: str) -> Response:
        return Response(_shape(destinations.delete(self.caller_id, name)))


def _shape(row: models.Destination, secret: str | None = None) -> Destination:
    return Destination(
        name=row.name,
        kind=DestinationKind(row.kind),
        hint=row.hint,
        created_at=row.created_at,
        updated_at=row.updated_at,
        disabled_at=row.disabled_at,
        disabled_because=row.disabled_because,
        secret=secret,
    )
