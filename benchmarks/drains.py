"""Rounds in which jobs that lie ready are worked off: `nothing` jobs, and mails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from benchmarks import sink, tally
from benchmarks.contenders import Contender, Place
from benchmarks.ground import NO_SERVER, Ground
from benchmarks.machine import Meter, pss_mib
from benchmarks.rounds import Figures
from scheduler.embedded.child import CannotStart, Child, wait_for

PATIENCE_SECONDS = 300.0


class Wrong(CannotStart):
    """A contender did not do what it was asked for: its figure would be worth nothing."""


def drain(ground: Ground, contender: Contender, *, count: int) -> Figures:
    """Jobs that do nothing: from the first that is begun to the last that is done, and written down as done by those
    who write."""
    with ground.fresh_database(migrated=contender.is_ours) as database:
        place = Place(ground, database, smtp_port=NO_SERVER, folder=ground.fresh_folder("tally"))
        contender.lay_jobs(place, count)
        figures = work_off(contender, place, count)
        if contender.is_ours:
            ground.manage("audit", database=database)
    return figures


def mail(
    ground: Ground,
    contender: Contender,
    *,
    count: int,
    sink_options: tuple[str, ...] = (),
    connections: int | None = None,
) -> Figures:
    """Mails to different people: from the first MAIL that the sink hears to the last that it takes, and is written down
    as sent by those who write."""
    with (
        ground.sink(*sink_options) as (port, book),
        ground.fresh_database(migrated=contender.is_ours) as database,
    ):
        place = Place(ground, database, smtp_port=port, folder=book, connections=connections)
        contender.lay_jobs(place, count)
        figures = work_off(contender, place, count)
        check_once(sink.read(book), count, of=contender.name)
        if contender.is_ours:
            ground.manage("audit", database=database)
    return figures


def work_off(contender: Contender, place: Place, count: int) -> Figures:
    """Jobs a second, by what is noted in the place's folder."""
    with _working(contender, place) as (child, meter):
        _await(child, place, lambda: tally.read(place.folder).count >= count, of=contender, what="done")
        done = tally.read(place.folder)
        cost, memory = meter.read(), pss_mib(child.pid)
        last = _await_settled(child, place, contender, done.last)
    return Figures(count / (last - done.first), {"us_per_job": cost.per(count), "pss_mib": memory})


@contextmanager
def _working(contender: Contender, place: Place) -> Iterator[tuple[Child, Meter]]:
    ground = place.ground
    with ground.running(f"{contender.name}, work", list(contender.work), env=place.env) as child:
        yield (
            child,
            Meter({"worker": child.pid, "PostgreSQL": ground.postgres.pid, "Valkey": ground.redis.child.pid}),
        )


def _await(child: Child, place: Place, ready: Callable[[], bool], *, of: Contender, what: str) -> None:
    if not wait_for(lambda: ready() or not child.is_running, within=PATIENCE_SECONDS, watch=place.ground.watch):
        raise Wrong(f"{of.name} has not {what} everything within {PATIENCE_SECONDS:.0f} s.\n{child.last_lines()}")
    if not child.is_running:
        raise Wrong(child.obituary())


def _await_settled(child: Child, place: Place, contender: Contender, done_at: float) -> float:
    """When PostgreSQL had the last outcome (time.time(), seen up to 30 ms late)."""
    unsettled = contender.unsettled
    if unsettled is None:
        return done_at
    with psycopg.connect(place.ground.postgres.url(place.database), autocommit=True) as connection:

        def is_settled() -> bool:
            row = connection.execute(unsettled).fetchone()
            return row is not None and row[0] == 0

        _await(child, place, is_settled, of=contender, what="settled")
        return time.time()


def check_once(copies: Counter[bytes], count: int, *, of: str) -> None:
    """Every mail has arrived, and none twice; Wrong otherwise."""
    twice = sum(1 for number in copies.values() if number > 1)
    if len(copies) != count or twice or sink.NOBODY in copies:
        raise Wrong(f"{of}: {len(copies)} of {count} mails arrived, {twice} more than once.")
