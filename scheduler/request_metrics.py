"""What /metrics says about requests: how many, to which view, how they were answered, and how long it took.

Names and labels are django-prometheus's. Its own middlewares write seventeen numbers for each request, which was a
quarter of all that a request for a job costs in Python; these six are the ones that somebody looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django_prometheus.conf import PROMETHEUS_LATENCY_BUCKETS
from prometheus_client import Counter, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"})
REMEMBERED = 1_000  # combinations of labels; views, methods and statuses are few

REQUESTS = Counter("django_http_requests_before_middlewares_total", "Total count of requests before middlewares run.")
BY_METHOD = Counter("django_http_requests_total_by_method", "Count of requests by method.", ["method"])
BY_VIEW = Counter(
    "django_http_requests_total_by_view_transport_method",
    "Count of requests by view, transport, method.",
    ["view", "transport", "method"],
)
ANSWERS = Counter(
    "django_http_responses_total_by_status_view_method",
    "Count of responses by status, view, method.",
    ["status", "view", "method"],
)
LATENCY = Histogram(
    "django_http_requests_latency_seconds_by_view_method",
    "Histogram of request processing time labelled by view.",
    ["view", "method"],
    buckets=PROMETHEUS_LATENCY_BUCKETS,
)


class _Numbers(NamedTuple):
    """Those that one kind of request moves."""

    by_method: Counter
    by_view: Counter
    answers: Counter
    latency: Histogram


class RequestMetrics:
    """Counts the request when it comes, and the rest when it was answered. Stands before all other middlewares."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        REQUESTS.inc()
        started = perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        numbers = _numbers(
            view=(match and match.view_name) or "<unnamed view>",
            method=request.method if request.method in METHODS else "<invalid method>",
            transport=request.scheme or "http",
            status=response.status_code,
        )
        numbers.by_method.inc()
        numbers.by_view.inc()
        numbers.answers.inc()
        numbers.latency.observe(perf_counter() - started)
        return response


@lru_cache(maxsize=REMEMBERED)
def _numbers(*, view: str, method: str, transport: str, status: int) -> _Numbers:
    return _Numbers(
        by_method=BY_METHOD.labels(method=method),
        by_view=BY_VIEW.labels(view=view, transport=transport, method=method),
        answers=ANSWERS.labels(status=str(status), view=view, method=method),
        latency=LATENCY.labels(view=view, method=method),
    )
