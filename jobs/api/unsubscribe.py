"""Where whoever reads a mail ends such mail: a page with a button for people, one POST for mail programs (RFC 8058).

Open to everybody: the token in the address says who wants it. A GET changes nothing, since whoever looks for viruses,
or for a picture of the page, follows links too.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

import structlog
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.template.loader import render_to_string
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request

from jobs import suppressions, unsubscribing
from jobs.api.base import OpenView
from jobs.api.parsers import read_bytes
from jobs.api.schema import PROBLEM_JSON
from jobs.errors import InvalidRequest
from jobs.states import SuppressionReason
from jobs.unsubscribing import Reader

log = structlog.get_logger(__name__)

NAME, VALUE = "List-Unsubscribe", "One-Click"
LARGEST_BODY = 8_192  # bytes
HTML = "text/html; charset=utf-8"
HEADERS = {  # the page takes nothing from elsewhere, and gives nothing away: its address is a key
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
BODY = {
    "type": "object",
    "properties": {NAME: {"const": VALUE}},
    "required": [NAME],
}
PAGE = OpenApiResponse(response={"type": "string"}, description="A page for people.")
NO_PAGE = OpenApiResponse(response={"type": "string"}, description="A page that says that the link is not valid.")


def _problem(description: str) -> OpenApiResponse:
    return OpenApiResponse(response={"$ref": "#/components/schemas/Problem"}, description=description)


class UnsubscribeView(OpenView):
    @extend_schema(
        operation_id="showUnsubscribe",
        summary="The page behind the link of a mail's List-Unsubscribe",
        description="It has a button, and changes nothing by itself.",
        tags=["unsubscribe"],
        responses={(200, "text/html"): PAGE, (404, "text/html"): NO_PAGE},
    )
    def get(self, request: Request, token: str) -> HttpResponse:
        reader = _reader(token)
        return _page("asked", reader=reader) if reader else _not_valid()

    @extend_schema(
        operation_id="unsubscribe",
        summary="No more mail of this kind for the reader of this one, with one click (RFC 8058)",
        description="What mail programs send, and the button of the page. A second time changes nothing.",
        tags=["unsubscribe"],
        request={"application/x-www-form-urlencoded": BODY, "multipart/form-data": BODY},
        responses={
            (200, "text/html"): PAGE,
            (404, "text/html"): NO_PAGE,
            (400, PROBLEM_JSON): _problem("Another body, usually `invalid`."),
            (413, PROBLEM_JSON): _problem("Usually `too_large`."),
            (503, PROBLEM_JSON): _problem("Usually `unavailable`."),
        },
    )
    def post(self, request: Request, token: str) -> HttpResponse:
        if not _is_one_click(request._request):
            raise InvalidRequest.field("body", f"Send the form {NAME}={VALUE} (RFC 8058).")
        reader = _reader(token)
        if reader is None or not _unsubscribe(reader):
            return _not_valid()
        return _page("done", reader=reader)


def _reader(token: str) -> Reader | None:
    try:
        return unsubscribing.read(token)
    except ValueError:
        return None


def _unsubscribe(reader: Reader) -> bool:
    """False when whoever sent the mail has no account any more."""
    try:
        suppressions.add(
            reader.owner_id,
            [reader.address],
            reason=SuppressionReason.UNSUBSCRIBE,
            detail="One click (RFC 8058).",
            topic=reader.topic,
            job_id=reader.job_id,
        )
    except IntegrityError:
        return False
    return True


def _is_one_click(request: HttpRequest) -> bool:
    """A form of either kind. Raises TooLarge."""
    raw = read_bytes(request, limit=LARGEST_BODY)
    try:
        if request.content_type == "multipart/form-data":
            meta = request.META | {"CONTENT_LENGTH": len(raw)}
            form, _ = MultiPartParser(meta, BytesIO(raw), []).parse()
            return form.getlist(NAME) == [VALUE]
        return parse_qs(raw.decode()).get(NAME) == [VALUE]
    except (MultiPartParserError, ValueError):
        return False


def _page(state: str, **facts: Any) -> HttpResponse:
    body = render_to_string("jobs/unsubscribe.html", {"state": state, "name": NAME, "value": VALUE, **facts})
    return HttpResponse(body, content_type=HTML, headers=HEADERS, status=404 if state == "not_valid" else 200)


def _not_valid() -> HttpResponse:
    return _page("not_valid")
