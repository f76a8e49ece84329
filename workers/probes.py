"""The port of a worker or a scheduler: /metrics for Prometheus, /health/live and /health/ready for probes.

Ready is who makes progress (pulse.py): a process whose threads live, but get no answer from PostgreSQL, is not. Whoever
answers for several processes is ready when all of them are.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from jobs.gauges import PlatformGauges
from workers.pulse import Part, Pulse

Processes = Mapping[int, Sequence[Part] | None]  # process id → its parts; None: it has told nothing yet

PROBLEM = "application/problem+json"  # RFC 9457, as the API's errors


@contextmanager
def serving(port: int | None, pulse: Pulse) -> Iterator[None]:
    """What runs in this block answers for itself on `port`, if there is one."""
    stop = serve(port, processes=lambda: {os.getpid(): pulse.parts()}) if port else None
    try:
        yield
    finally:
        if stop:
            stop()


def serve(
    port: int, *, processes: Callable[[], Processes], registry: CollectorRegistry = REGISTRY
) -> Callable[[], None]:
    """Serve a registry, the platform's gauges, and what the probes want to know; returns a function that stops it."""
    collectors = [PlatformGauges(), ProgressGauge(processes)]
    for collector in collectors:
        registry.register(collector)
    application = _application(make_wsgi_app(registry), processes)
    server = make_server("0.0.0.0", port, application, ThreadingWSGIServer, _Silent)
    thread = threading.Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()
        for collector in collectors:
            registry.unregister(collector)

    return stop


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is no news."""


def _application(metrics: WSGIApplication, processes: Callable[[], Processes]) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics" | "/":
                return metrics(environ, start_response)
            case "/health/live":
                status, body = HTTPStatus.OK, {"status": "ok"}
            case "/health/ready":
                status, body = readiness(processes(), time.monotonic())
            case _:
                detail = "Here are /metrics, /health/live and /health/ready."
                status, body = HTTPStatus.NOT_FOUND, _problem(HTTPStatus.NOT_FOUND, "not_found", detail)
        kind = "application/json" if status is HTTPStatus.OK else PROBLEM
        start_response(f"{status.value} {status.phrase}", [("Content-Type", kind), ("Cache-Control", "no-store")])
        return [msgspec.json.encode(body)]

    return answer


def readiness(processes: Processes, now: float) -> tuple[HTTPStatus, dict[str, Any]]:
    """The answer of /health/ready: each part of each process, when it last made progress, and what is wrong."""
    rows = [row for pid, parts in processes.items() for row in _rows(pid, parts, now)]
    wrong = [f"{row['part']} of process {row['process']}: {row['wrong']}" for row in rows if row["wrong"]]
    if not rows:
        wrong = ["No process has been started yet."]
    if not wrong:
        return HTTPStatus.OK, {"status": "ready", "parts": rows}
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return status, _problem(status, "not_ready", "; ".join(wrong)) | {"parts": rows}


def _rows(pid: int, parts: Sequence[Part] | None, now: float) -> Iterator[dict[str, Any]]:
    if parts is None:
        yield {"process": pid, "part": "process", "progress_seconds_ago": None, "wrong": "it is starting"}
    for part in parts or ():
        ago = None if part.progress_at is None else round(now - part.progress_at, 1)
        yield {"process": pid, "part": part.name, "progress_seconds_ago": ago, "wrong": part.objection(now) or None}


def _problem(status: HTTPStatus, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }


class ProgressGauge(Collector):
    """When each part last made progress; of several processes the one that is furthest behind."""

    def __init__(self, processes: Callable[[], Processes]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "last_progress_timestamp_seconds",
            "When this part of the process last got something done, or knew that there was nothing to do (Unix time). "
            "Parts of a worker: loop, taker, recorder, heartbeat; of a scheduler: its chores.",
            labels=["part"],
        )
        for name, at in self._oldest().items():
            gauge.add_metric([name], time.time() - (time.monotonic() - at))
        yield gauge

    def describe(self) -> list[Metric]:
        return []

    def _oldest(self) -> dict[str, float]:
        oldest: dict[str, float] = {}
        for parts in self._processes().values():
            for part in parts or ():
                if part.progress_at is not None:
                    oldest[part.name] = min(part.progress_at, oldest.get(part.name, part.progress_at))
        return oldest
