"""Pages by cursor: newest first, the same small cost at any depth, and nobody counts.

A cursor is opaque to clients: the side to look at and the id to start from.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from jobs.errors import InvalidRequest

PAGE = 50
LARGEST_PAGE = 100
LARGEST_ID = 2**63 - 1
OLDER, NEWER = "<", ">"


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the whole URLs of the pages beside them."""

    rows: list[Any]
    next: str | None
    previous: str | None


def page(request: Request, rows: QuerySet[Any], *, as_id: Callable[[str], Any]) -> Page:
    """One page of `rows` by descending id. Raises InvalidRequest naming `limit` or `cursor`."""
    limit = _limit(request)
    side, start = _cursor(request, as_id)
    if side == NEWER:
        found = list(rows.filter(pk__gt=start).order_by("pk")[: limit + 1])
        shown, has_newer, has_older = found[:limit][::-1], len(found) > limit, True
    else:
        found = list((rows.filter(pk__lt=start) if start is not None else rows).order_by("-pk")[: limit + 1])
        shown, has_newer, has_older = found[:limit], start is not None, len(found) > limit
    return Page(
        rows=shown,
        next=_url(request, OLDER, shown[-1]) if shown and has_older else None,
        previous=_url(request, NEWER, shown[0]) if shown and has_newer else None,
    )


def as_number(text: str) -> int:
    """An id of a numbered table. Raises ValueError."""
    number = int(text)
    if not 0 <= number <= LARGEST_ID:
        raise ValueError(text)
    return number


as_uuid: Callable[[str], UUID] = UUID


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= LARGEST_PAGE):
        raise InvalidRequest.field("limit", f"A whole number from 1 to {LARGEST_PAGE}.")
    return int(text)


def _cursor(request: Request, as_id: Callable[[str], Any]) -> tuple[str, Any]:
    text = request.query_params.get("cursor")
    if text is None:
        return OLDER, None
    try:
        plain = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode("ascii")
        if plain[:1] not in (OLDER, NEWER):
            raise ValueError(plain)
        return plain[0], as_id(plain[1:])
    except (ValueError, IndexError, binascii.Error):
        raise InvalidRequest.field(
            "cursor", "Not a cursor of this list. Follow `next` and `previous` as they are."
        ) from None


def _url(request: Request, side: str, row: Model) -> str:
    cursor = urlsafe_b64encode(f"{side}{row.pk}".encode()).rstrip(b"=").decode()
    params = request.query_params.copy()
    params["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{params.urlencode()}")
