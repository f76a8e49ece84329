"""Rounds of a quiet hour: jobs come one by one, and each is to be on its way at once."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import httpx
import psycopg

from benchmarks import sink, tally
from benchmarks.apis import OPEN_DOOR, ours_serving, sign_up
from benchmarks.drains import PATIENCE_SECONDS, Wrong
from benchmarks.ground import Ground
from benchmarks.rounds import Figures
from scheduler.embedded.child import wait_for

TEXT = "Your code is 123456.\n"
ACCEPTED = "SELECT id, extract(epoch FROM created_at) FROM jobs_job"
WARMING = 20  # jobs


def latency(ground: Ground, *, rate: float, seconds: float) -> Figures:
    """Milliseconds from accepted (the row's `created_at`) to started (the sink has heard MAIL): the median, and p99."""
    with ground.sink() as (port, book), ground.fresh_database(migrated=True) as database:
        env = ground.our_env(database, smtp_port=port) | OPEN_DOOR
        with (
            ours_serving(ground, env) as (url, _),
            ground.running("worker", [sys.executable, "manage.py", "run_worker"], env=env),
        ):
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {sign_up(url)}"}) as client:
                _post(client, [0.0] * WARMING)
                _await(ground, book, WARMING)  # the worker is up
                posted = _post(client, list(_due(rate, seconds)))
            _await(ground, book, WARMING + posted)
        with psycopg.connect(ground.postgres.url(database)) as connection:
            accepted: dict[UUID, float] = {id: float(at) for id, at in connection.execute(ACCEPTED).fetchall()}
        begun = sink.read_begun(book)
    waits = [(begun[id] - at) * 1000 for id, at in sorted(accepted.items())[WARMING:]]
    points = quantiles(waits, n=100)
    return Figures(points[49], {"p99_ms": points[98], "most_ms": max(waits), "jobs": len(waits)})


def _due(rate: float, seconds: float) -> Iterator[float]:
    """When to post, in seconds from the start: exponential gaps, the same in every round."""
    chance, at = random.Random(1), 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        yield at


def _post(client: httpx.Client, due: Sequence[float]) -> int:
    began = time.monotonic()
    for number, at in enumerate(due):
        time.sleep(max(0.0, began + at - time.monotonic()))
        payload = {"to": f"customer{number}@example.org", "subject": "Your code", "text": TEXT}
        client.post("/jobs", json={"type": "email", "payload": payload}).raise_for_status()
    return len(due)


def _await(ground: Ground, book: Path, count: int) -> None:
    if not wait_for(lambda: tally.read(book).count >= count, within=PATIENCE_SECONDS, watch=ground.watch):
        raise Wrong(f"Of {count} mails {tally.read(book).count} arrived.")
