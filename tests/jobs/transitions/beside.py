"""Somebody else, on a connection of their own: for races and for interleavings that need two transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, TypeVar

import pytest
from django.db import connection

T = TypeVar("T")
PATIENCE_SECONDS = 20.0


class Others:
    """Runs functions in threads, each with a connection of its own that is closed afterwards."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def start(self, act: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        def on_own_connection() -> T:
            try:
                return act(*args, **kwargs)
            finally:
                connection.close()

        return self._pool.submit(on_own_connection)

    def do(self, act: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.start(act, *args, **kwargs).result(PATIENCE_SECONDS)


@contextmanager
def others(count: int = 4) -> Iterator[Others]:
    with ThreadPoolExecutor(count) as pool:
        yield Others(pool)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction keeps its first look otherwise
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0] > 0


class Pause:
    """Stops whoever is about to run one named statement, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, statement: str) -> None:
        self.reached, self._go = Event(), Event()
        run = module.run

        def run_after_pause(name: str, /, **params: Any) -> list[Any]:
            if name == statement and not self._go.is_set():
                self.reached.set()
                assert self._go.wait(PATIENCE_SECONDS)
            return run(name, **params)

        monkeypatch.setattr(module, "run", run_after_pause)

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE_SECONDS)

    def let_go(self) -> None:
        self._go.set()
