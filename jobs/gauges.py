"""Gauges of the whole platform, read when they are scraped: every node tells the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs import queue
from jobs.conf import tunables
from jobs.postgres.arrays import Texts
from jobs.sql import run
from jobs.states import Lane, Priority, WorkerState


class PlatformGauges(Collector):
    """What PostgreSQL and Redis know. A source that is away leaves its gauges out rather than lie."""

    def collect(self) -> Iterator[Metric]:
        yield from _depths()
        try:
            yield from _from_postgres()
        except DatabaseError:
            return
        finally:
            connection.close()  # each scrape has a thread of its own

    def describe(self) -> list[Metric]:
        return []


def _depths() -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "queue_depth", "Jobs waiting in Redis, by lane and priority.", labels=["lane", "priority"]
    )
    try:
        for lane in Lane:
            for priority, count in queue.depths(lane).items():
                depth.add_metric([lane, priority], count)
    except queue.Away:
        return
    yield depth


def _from_postgres() -> Iterator[Metric]:
    row = run("gauges", lease=tunables().lease_seconds)[0]
    oldest = GaugeMetricFamily(
        "queue_oldest_age_seconds",
        "Age of the job that has waited longest, by lane and priority.",
        labels=["lane", "priority"],
    )
    for waiting in run("oldest_waiting", lanes=Texts(Lane), priorities=Texts(Priority)):
        oldest.add_metric([waiting.lane, waiting.priority], waiting.age)
    yield oldest
    workers = GaugeMetricFamily("active_workers_count", "Worker processes by what they do.", labels=["state"])
    for state in WorkerState:
        workers.add_metric([state], getattr(row, state))
    yield workers
    yield GaugeMetricFamily("jobs_in_dlq", "Dead letters that nobody has decided yet.", value=row.dead_letters)
