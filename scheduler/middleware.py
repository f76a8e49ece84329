"""One name for each request, in its answer and in all of its log lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

HEADER = "X-Correlation-ID"
_ACCEPTABLE = re.compile(r"[ -~]{1,128}")  # printable ASCII: it also goes into a mail's headers


class CorrelationMiddleware:
    """Takes or makes the correlation id, binds it, echoes it, and logs the request once.

    Never logged: query strings, bodies and headers; they carry addresses and tokens.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        correlation_id = _given(request) or str(uuid4())
        request.correlation_id = correlation_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()  # whatever this thread did before
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        try:
            response = self._timed(request)
        finally:
            structlog.contextvars.clear_contextvars()
        response[HEADER] = correlation_id
        # Django would add a warning with the address for each 4xx; request_finished has said it.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response

    def _timed(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        response = self.get_response(request)
        log.info(
            "request_finished",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round((perf_counter() - started) * 1000, 1),
        )
        return response


def _given(request: HttpRequest) -> str | None:
    """The client's id, unless it could not stand in a header or in a log line."""
    given = request.headers.get(HEADER, "").strip()
    return given if _ACCEPTABLE.fullmatch(given) else None
