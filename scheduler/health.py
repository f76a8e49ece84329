"""Probes. They need no token, answer within seconds, and never hang on a server that is away.

Each server is asked in a thread of its own: one that accepts a connection and then says nothing holds up
that thread, not the request.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from functools import cache

from django.db import Error as DatabaseError
from django.db import NotSupportedError, connections
from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import queue
from jobs.api.base import OpenView
from jobs.api.schema import describe
from jobs.api.shapes import AWAY, UP, Alive, Health

PATIENCE_SECONDS = 2


class HealthView(OpenView):
    @describe(
        id="health",
        summary="How the platform is: PostgreSQL and Redis",
        tag="operations",
        answers={
            200: ("Health", "`ok` or `degraded`."),
            503: ("Health", "`down`: PostgreSQL is away, or takes no jobs."),
        },
        asks_postgresql=False,
    )
    def get(self, request: Request) -> Response:
        health = look()
        return Response(health, status=503 if health.status == "down" else 200)


class ReadyView(HealthView):
    @describe(
        id="healthReady",
        summary="Whether this process should get requests",
        tag="operations",
        answers={200: ("Health", "`ok` or `degraded`: send requests."), 503: ("Health", "`down`: send none.")},
        asks_postgresql=False,
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class LiveView(OpenView):
    @describe(
        id="healthLive",
        summary="Whether this process should go on living",
        tag="operations",
        answers={200: ("Alive", "It answers.")},
        asks_postgresql=False,
    )
    def get(self, request: Request) -> Response:
        return Response(Alive())


class MetricsView(OpenView):
    @extend_schema(
        operation_id="metrics",
        summary="Prometheus text",
        tags=["operations"],
        responses={(200, "text/plain"): str},
    )
    def get(self, request: Request) -> HttpResponse:
        return ExportToDjangoView(request)


def look() -> Health:
    """Ask both servers at once."""
    database, redis = _ask("database", _ask_database), _ask("redis", queue.ping)
    database_is, redis_is = _answer(database), _answer(redis)
    status = "down" if database_is == AWAY else "degraded" if redis_is == AWAY else "ok"
    return Health(status=status, database=database_is, redis=redis_is)


def _ask(server: str, question: Callable[[], None]) -> Future[None]:
    return _thread_for(server).submit(question)


@cache
def _thread_for(server: str) -> ThreadPoolExecutor:
    """One thread per server: while an earlier question hangs, the next ones are not even asked."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"health-{server}")


def _answer(future: Future[None]) -> str:
    try:
        future.result(PATIENCE_SECONDS)
    except (StillWaiting, DatabaseError, queue.Away):
        future.cancel()
        return AWAY
    return UP


def _ask_database() -> None:
    """Whether a job could be written, over a connection of its own: an old one may be dead, and one that waits for its
    time-out helps nobody. A server that was demoted, or not migrated yet, answers and takes no job."""
    probe = connections["default"].copy()
    probe.settings_dict["OPTIONS"] |= {"connect_timeout": PATIENCE_SECONDS, "tcp_user_timeout": PATIENCE_SECONDS * 1000}
    try:
        with probe.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')::bool OR to_regclass('jobs_job') IS NULL")
            (takes_none,) = cursor.fetchone()
        if takes_none:
            raise NotSupportedError
    finally:
        probe.close()
