"""Rounds that weigh: what each of our processes holds in memory, before the first mail and after many."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import httpx
import psycopg

from benchmarks import sink, tally
from benchmarks.apis import OPEN_DOOR, ours_serving, sign_up
from benchmarks.contenders import UNSETTLED
from benchmarks.drains import PATIENCE_SECONDS, Wrong, check_once
from benchmarks.ground import ROOT, Ground
from benchmarks.letter import TEXT
from benchmarks.machine import pss_mib
from benchmarks.rounds import OURS, Figures
from scheduler.embedded.child import Child, wait_for

BATCH = 200
AS_IN_THE_IMAGE = str(ROOT / "benchmarks" / "ours" / "image")  # where packages are missing that only developers have
API, CLOCK = "API", "scheduler"  # at the end


def worker_after(mails: int) -> str:
    return f"worker after {mails:,} mails"


def memory(ground: Ground, *, mails: Sequence[int]) -> dict[str, Figures]:
    """MiB (PSS) of a worker process each time so many mails have been sent, and at the end of the others. All of them
    run side by side, so that what they share is divided by three, as it is on one machine."""
    found = {}
    with ground.sink() as (port, book), ground.fresh_database(migrated=True) as database:
        env = ground.our_env(database, smtp_port=port) | OPEN_DOOR | {"PYTHONPATH": AS_IN_THE_IMAGE}
        with (
            ours_serving(ground, env) as (url, pids),
            ground.running("scheduler", [sys.executable, "manage.py", "run_scheduler"], env=env) as clock,
            ground.running("worker", [sys.executable, "manage.py", "run_worker"], env=env) as worker,
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {sign_up(url)}"}, timeout=30.0) as client,
            psycopg.connect(ground.postgres.url(database), autocommit=True) as books,
        ):
            ready = Patience(ground, worker)
            ready.wait(lambda: _one(books, "SELECT count(*) FROM jobs_worker") > 0, "begun")
            found[worker_after(0)] = _weigh(worker.pid)
            for before, after in pairwise([0, *mails]):
                _post(client, range(before, after))
                ready.wait(partial(_has_arrived, book, after), f"sent {after:,} mails")
                ready.wait(lambda: _one(books, UNSETTLED) == 0, "settled")
                found[worker_after(after)] = _weigh(worker.pid)
            found |= {API: _weigh(pids[API]), CLOCK: _weigh(clock.pid)}
        check_once(sink.read(book), mails[-1], of=OURS)
    return found


class Patience:
    """Waits for a worker, as long as it lives."""

    def __init__(self, ground: Ground, worker: Child) -> None:
        self._ground, self._worker = ground, worker

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        in_time = wait_for(
            lambda: condition() or not self._worker.is_running, within=PATIENCE_SECONDS, watch=self._ground.watch
        )
        if not in_time or not self._worker.is_running:
            raise Wrong(f"The worker has not {what} within {PATIENCE_SECONDS:.0f} s.\n{self._worker.last_lines()}")


def _post(client: httpx.Client, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, BATCH):
        jobs = [
            {
                "type": "email",
                "payload": {"to": f"customer{number}@example.org", "subject": f"Order {number}", "text": TEXT},
            }
            for number in range(start, min(start + BATCH, numbers.stop))
        ]
        client.post("/jobs/batch", json={"jobs": jobs}).raise_for_status()


def _has_arrived(book: Path, count: int) -> bool:
    return tally.read(book).count >= count


def _one(connection: psycopg.Connection[tuple[int, ...]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else 0


def _weigh(pid: int) -> Figures:
    """A process and its descendants: of the API both the master and what serves."""
    each = pss_mib(pid)
    return Figures(sum(each), {"pss_mib": each})
