"""One name for each request, in its answer and in all of its log lines; and what only people's pages need."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

import structlog
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.utils.deprecation import MiddlewareMixin

from scheduler.logs import shown_path

log = structlog.get_logger(__name__)

HEADER = "X-Correlation-ID"
_IN_META = "HTTP_X_CORRELATION_ID"  # `request.headers` would put all of META into order first
PAGES = ("/admin", "/docs", "/inbox", "/static")
_ACCEPTABLE = re.compile(r"[ -~]{1,128}")  # printable ASCII: it also goes into a mail's headers


class CorrelationMiddleware:
    """Takes or makes the correlation id, binds it, echoes it, and logs the request once.

    Never logged: query strings, bodies and headers, nor the ends of some paths; they carry addresses and tokens.
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
            path=shown_path(request.path),
            status=response.status_code,
            ms=round((perf_counter() - started) * 1000, 1),
        )
        return response


def _given(request: HttpRequest) -> str | None:
    """The client's id, unless it could not stand in a header or in a log line."""
    given = request.META.get(_IN_META, "").strip()
    return given if _ACCEPTABLE.fullmatch(given) else None


# ── For people's pages ────────────────────────────────────────────────────────────────────────


def _on_pages(kind: type[MiddlewareMixin]) -> type[MiddlewareMixin]:
    """The same, but a request to the API passes by, which needs none of them and would pay for all.

    CSRF protection is not among them: it looks at every request, and a view of the API says that it needs none.
    """

    class OnPages(kind):  # type: ignore[misc, valid-type]
        def __call__(self, request: HttpRequest) -> HttpResponse:
            is_page = request.path_info.startswith(PAGES)
            answer: HttpResponse = super().__call__(request) if is_page else self.get_response(request)
            return answer

    OnPages.__name__ = OnPages.__qualname__ = kind.__name__
    return OnPages


Sessions = _on_pages(SessionMiddleware)
Authentication = _on_pages(AuthenticationMiddleware)
Messages = _on_pages(MessageMiddleware)
XFrameOptions = _on_pages(XFrameOptionsMiddleware)
