"""What tests everywhere need: other tunables, an empty Redis, a PostgreSQL or a Redis that goes away."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import psycopg
import pytest
import redis
from django.db import connection
from prometheus_client import REGISTRY

from jobs import conf, redis_session, types
from jobs.audit import audit
from jobs.outage import Outage
from scheduler.embedded.redis import EmbeddedRedis

hypothesis.settings.register_profile("house", deadline=None)  # servers and other people's builds share the machine
hypothesis.settings.register_profile(  # --hypothesis-profile=long, for whoever has the time
    "long", deadline=None, max_examples=10_000, stateful_step_count=80, print_blob=True
)
hypothesis.settings.load_profile("house")


@pytest.fixture
def tunables(settings: Any) -> Iterator[Callable[..., conf.Tunables]]:
    """Change some of them, for code that asks for them afterwards; answers with all."""

    def change(**values: Any) -> conf.Tunables:
        settings.SENDONCE = settings.SENDONCE | values
        conf.tunables.cache_clear()
        return conf.tunables()

    yield change
    conf.tunables.cache_clear()


OURS = ("email", "welcome_email", "webhook", "notification", "templated_email")


def add_types(patch: pytest.MonkeyPatch, module: str) -> None:
    """Beside our own types of job there are, for as long as the patch lasts, those of this module of an app."""
    patch.setattr(types, "_types", {name: types._types[name] for name in OURS})
    if module in sys.modules:
        importlib.reload(sys.modules[module])
    else:
        importlib.import_module(module)


@pytest.fixture
def bell() -> Iterator[redis.Redis]:
    """The session's Redis, empty; and nothing remembered about one that was slow."""
    _know_nothing_of_redis()
    client = redis.Redis.from_url(conf.tunables().redis_url)
    client.flushdb()
    yield client
    client.close()


def _know_nothing_of_redis() -> None:
    redis_session.server.cache_clear()
    redis_session.outage = Outage("redis", redis_session.ask_afresh)


class OwnRedis(EmbeddedRedis):
    """A Valkey that the test may kill, hang and wake."""

    def hang(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)


@pytest.fixture
def own_redis(tmp_path: Any, tunables: Callable[..., conf.Tunables]) -> Iterator[OwnRedis]:
    """The Redis of the code under test, for this test alone."""
    server = OwnRedis(tmp_path / "valkey")
    server.start()
    tunables(redis_url=server.url())
    _know_nothing_of_redis()
    yield server
    server.stop()
    _know_nothing_of_redis()


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """Commits are real and seen by every thread; and after the test the books balance."""
    yield
    assert [finding for finding in audit() if not finding.is_ok] == []


class Postgres:
    """The test database's door: closed, every connection to it breaks and no new one is let in."""

    def __init__(self) -> None:
        known = connection.settings_dict
        self.name = known["NAME"]
        self._door = psycopg.connect(
            host=known["HOST"],
            port=known["PORT"],
            user=known["USER"],
            password=known["PASSWORD"],
            dbname="postgres",
            autocommit=True,
        )

    def go_away(self) -> None:
        self._let_in(False)
        self.cut()

    def come_back(self) -> None:
        self._let_in(True)

    def cut(self) -> None:
        """Break every connection, and return when they are gone; new ones are welcome."""
        connection.close()
        while pids := self._pids():
            for pid in pids:
                self._terminate(pid)

    def end(self, pid: int) -> None:
        """Break one connection, from the outside."""
        while pid in self._pids():
            self._terminate(pid)

    def connections(self) -> int:
        return len(self._pids())

    def close(self) -> None:
        self.come_back()
        self._door.close()

    def _pids(self) -> list[int]:
        rows = self._door.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [self.name]).fetchall()
        return [pid for (pid,) in rows]

    def _terminate(self, pid: int) -> None:
        self._door.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])

    def _let_in(self, anyone: bool) -> None:
        self._door.execute(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS {anyone}')


@pytest.fixture
def postgres(committed: None) -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


def until(condition: Callable[[], Any], *, within: float = 10.0) -> Any:
    """Wait for the condition and return what it answered; fails the test when it does not come true in time."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {condition}"
        time.sleep(0.005)
    return answer


class Moved:
    """By how much a metric has moved since the test began (or since it was first asked for)."""

    def __init__(self) -> None:
        self._before: dict[Any, float] = {}
        for family in REGISTRY.collect():
            for sample in family.samples:
                self._before[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        now = REGISTRY.get_sample_value(name, labels) or 0.0
        return now - self._before.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture
def moved() -> Moved:
    return Moved()


@pytest.fixture
def spans_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Those that have ended, in an exporter of OpenTelemetry's own for tests."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("jobs.spans._tracer", provider.get_tracer("tests"))
    yield exporter
    provider.shutdown()


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    """What a test starts, it ends."""
    before = set(threading.enumerate())
    yield
    mine = set(threading.enumerate()) - before
    for thread in mine:
        thread.join(timeout=5.0)
    left = [thread.name for thread in mine if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
