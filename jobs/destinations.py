"""Destinations: named receivers of webhooks and notifications. Where they are, and their secrets, is sealed when it is
written and never shown again; jobs name them.

The only writer of their table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db.models.functions import Now
from msgspec import Struct
from uuid_utils.compat import uuid7

from jobs import notifications, sealing, types, webhooks
from jobs.claims import Claim, SealedDestination
from jobs.database import move
from jobs.errors import InvalidRequest, NotFound
from jobs.models import Destination
from jobs.postgres.arrays import Uuids
from jobs.requests import JobRequest
from jobs.sql import run
from jobs.states import DestinationKind

MOST = 200  # of one owner
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class Address(Struct, frozen=True):
    """What is sealed."""

    url: str
    secret: str | None = None


class Written(NamedTuple):
    """`new_secret`: made just now, and shown this once."""

    row: Destination
    is_new: bool
    new_secret: str | None


@move
def put(owner_id: int, name: str, *, kind: DestinationKind, url: str, secret: str | None) -> Written:
    """Make a destination, or write it anew: it is enabled then. A webhook without a secret keeps its own, or gets one.

    Raises InvalidRequest.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest.field("name", "1 to 63 letters, digits, `_`, `.` and `-`, not first a sign.")
    hint = webhooks.check_url(url) if kind is DestinationKind.WEBHOOK else notifications.check_url(url)
    before = Destination.objects.select_for_update().filter(owner_id=owner_id, name=name).first()
    if before is None and Destination.objects.filter(owner_id=owner_id).count() >= MOST:
        raise InvalidRequest.field("name", f"You have {MOST} destinations, and no more can be. Delete one first.")
    new_secret = None
    if kind is DestinationKind.NOTIFICATION and secret is not None:
        raise InvalidRequest.field("secret", "Only webhooks are signed; a notification's secrets are in its URL.")
    if kind is DestinationKind.WEBHOOK and secret is None:
        secret = _secret_of(before)
        if secret is None:
            secret = new_secret = webhooks.new_secret()
    elif secret is not None:
        webhooks.check_secret(secret)
    facts = {
        "kind": kind,
        "hint": hint,
        "sealed": sealing.seal(msgspec.json.encode(Address(url, secret))),
        "updated_at": Now(),
        "disabled_at": None,
        "disabled_because": None,
    }
    row, is_new = Destination.objects.update_or_create(
        owner_id=owner_id, name=name, defaults=facts, create_defaults=facts | {"id": uuid7(), "created_at": Now()}
    )
    row.refresh_from_db()
    return Written(row, is_new, new_secret)


def _secret_of(row: Destination | None) -> str | None:
    if row is None or row.kind != DestinationKind.WEBHOOK:
        return None
    try:
        return opened(row.sealed).secret
    except sealing.CannotOpen:
        return None  # its key is gone: a new one


@move
def delete(owner_id: int, name: str) -> Destination:
    """What it was. Raises NotFound.

    Jobs that name it become dead letters, unless it is made again before their turn.
    """
    row = Destination.objects.select_for_update().filter(owner_id=owner_id, name=name).first()
    if row is None:
        raise NotFound
    row.delete()
    return row


def all_of(owner_id: int) -> list[Destination]:
    """By name."""
    return list(Destination.objects.filter(owner_id=owner_id).order_by("name")[:MOST])


def of_name(owner_id: int, name: str) -> Destination:
    """Raises NotFound."""
    row = Destination.objects.filter(owner_id=owner_id, name=name).first()
    if row is None:
        raise NotFound
    return row


def opened(sealed: bytes | memoryview) -> Address:
    """Raises sealing.CannotOpen."""
    return msgspec.json.decode(sealing.open_(sealed), type=Address)


# ── At the door ───────────────────────────────────────────────────────────────────────────────


def refusals(requests: Mapping[int, JobRequest], owner_id: int) -> dict[int, InvalidRequest]:
    """Why some of these cannot be accepted: what they name is not there, of another kind, or disabled."""
    naming = {n: request for n, request in requests.items() if request.type.destination}
    if not naming:
        return {}
    rows = _named({request.payload["destination"] for request in naming.values()}, owner_id)
    found = {n: _refusal(request, rows, owner_id) for n, request in naming.items()}
    return {n: refusal for n, refusal in found.items() if refusal}


def _named(names: Collection[str], owner_id: int) -> dict[str, Destination]:
    found = Destination.objects.filter(owner_id=owner_id, name__in=names).defer("sealed")
    return {row.name: row for row in found}


def _refusal(request: JobRequest, rows: Mapping[str, Destination], owner_id: int) -> InvalidRequest | None:
    kind, name = request.type.destination, request.payload["destination"]
    wrong = _wrong_with(rows.get(name), kind, owner_id) if kind else None
    return InvalidRequest.field("payload.destination", wrong) if wrong else None


def misnamed(name: str, kind: DestinationKind, *, owner_id: int) -> str | None:
    """What is wrong with this name for a destination of a kind, if anything is."""
    return _wrong_with(_named({name}, owner_id).get(name), kind, owner_id)


def _wrong_with(row: Destination | None, kind: DestinationKind, owner_id: int) -> str | None:
    if row is None or row.kind != kind:
        fitting = [other.name for other in all_of(owner_id) if other.kind == kind]
        yours = f"Yours: {', '.join(fitting[:20])}." if fitting else "You have none."
        return f"You have no {kind} of this name; make it with PUT /destinations. {yours}"
    if row.disabled_at:
        return f"Disabled since {row.disabled_at:%Y-%m-%dT%H:%M:%SZ}: {row.disabled_because} PUT it anew to use it."
    return None


# ── On the road ───────────────────────────────────────────────────────────────────────────────


def addressed(claims: Sequence[Claim]) -> list[Claim]:
    """The same claims, with the destination of each that names one. One that is not there any more stays None."""
    naming = [claim for claim in claims if (type_ := types.find(claim.type)) and type_.destination]
    if not naming:
        return list(claims)
    rows = run("destinations_of_jobs", ids=Uuids(claim.job_id for claim in naming))
    by_job = {
        row.job_id: SealedDestination(
            name=row.name, kind=row.kind, sealed=bytes(row.sealed), is_disabled=row.is_disabled
        )
        for row in rows
    }
    return [msgspec.structs.replace(claim, destination=by_job.get(claim.job_id)) for claim in claims]
