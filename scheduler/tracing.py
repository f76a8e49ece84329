"""Requests that are traced, where tracing is on (settings.py); docs/decisions/0015 says why the middleware is ours.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP servers
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span), but for query strings, headers and
clients' addresses: they carry people's addresses and tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
from opentelemetry.trace import Span, SpanKind

from jobs import spans
from scheduler.logs import shown_path
from scheduler.request_metrics import METHODS

OF_NO_INTEREST = ("/health", "/metrics", "/static/", "/favicon.ico")  # asked by machines, all day long
HEADERS = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}


class RequestSpans:
    """Each request in a span, a child of the one that its `traceparent` names. Stands before all other middlewares."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(OF_NO_INTEREST):
            return self.get_response(request)
        method = _method(request)
        with spans.span(
            method or "HTTP",
            kind=SpanKind.SERVER,
            parent=spans.context_of(_headers(request.META)),
            attributes={
                HTTP_REQUEST_METHOD: method or "_OTHER",
                URL_PATH: shown_path(request.path_info),
                URL_SCHEME: request.scheme or "http",
            },
        ) as serving:
            response = self.get_response(request)
            _finish(serving, request, response)
            return response


def _method(request: HttpRequest) -> str | None:
    """None: one that nobody has heard of."""
    return request.method if request.method in METHODS else None


def _headers(meta: Mapping[str, str]) -> dict[str, str]:
    return {name: meta[variable] for name, variable in HEADERS.items() if variable in meta}


def _finish(serving: Span, request: HttpRequest, response: HttpResponse) -> None:
    """A client's fault is no error of ours, and leaves the status unset."""
    if (match := request.resolver_match) and match.route:
        route = f"/{match.route}"
        serving.set_attribute(HTTP_ROUTE, route)
        serving.update_name(f"{_method(request) or 'HTTP'} {route}")
    serving.set_attribute(HTTP_RESPONSE_STATUS_CODE, response.status_code)
    if response.status_code >= 500:
        spans.fail(serving, str(response.status_code))
