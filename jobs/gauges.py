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
from jobs.states import Lane, Priority, Reason, WorkerState


class PlatformGauges(Collector):
    """What PostgreSQL and Redis know. A source that is away is told of, and leaves its gauges out rather than lie."""

    def collect(self) -> Iterator[Metric]:
        reached = GaugeMetricFamily(
            "server_up", "1 when this process had its gauges from this server just now, else 0.", labels=["server"]
        )
        for server, gauges in (("redis", _from_redis), ("postgresql", _from_postgres)):
            try:
                told = list(gauges())
            except (queue.Away, DatabaseError):
                told = []
            reached.add_metric([server], bool(told))
            yield from told
        yield reached

    def describe(self) -> list[Metric]:
        return []


def _from_redis() -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "queue_depth", "Jobs waiting in Redis, by lane and priority.", labels=["lane", "priority"]
    )
    for lane in Lane:
        for priority, count in queue.depths(lane).items():
            depth.add_metric([lane, priority], count)
    yield depth


def _from_postgres() -> Iterator[Metric]:
    try:
        yield from _waiting()
        yield from _workers()
        yield from _dead_letters()
    finally:
        connection.close()  # each scrape has a thread of its own


def _waiting() -> Iterator[Metric]:
    oldest = GaugeMetricFamily(
        "queue_oldest_age_seconds",
        "Age of the job that has waited longest, by lane and priority.",
        labels=["lane", "priority"],
    )
    for waiting in run("oldest_waiting", lanes=Texts(Lane), priorities=Texts(Priority)):
        oldest.add_metric([waiting.lane, waiting.priority], waiting.age)
    yield oldest


def _workers() -> Iterator[Metric]:
    row = run("gauges", lease=tunables().lease_seconds)[0]
    workers = GaugeMetricFamily("active_workers_count", "Worker processes by what they do.", labels=["state"])
    for state in WorkerState:
        workers.add_metric([state], getattr(row, state))
    yield workers


def _dead_letters() -> Iterator[Metric]:
    letters = run("open_dead_letters", reasons=Texts(Reason))
    yield GaugeMetricFamily(
        "jobs_in_dlq", "Dead letters that nobody has decided yet.", value=sum(each.open for each in letters)
    )
    count = GaugeMetricFamily("dead_letters_open", "The same, by why they died.", labels=["reason"])
    age = GaugeMetricFamily(
        "dead_letters_oldest_age_seconds",
        "How long the one that has waited longest for a decision has waited, by why it died.",
        labels=["reason"],
    )
    for each in letters:
        count.add_metric([each.reason], each.open)
        age.add_metric([each.reason], each.age)
    yield count
    yield age
