"""Rounds among old rows: what Sendonce works off, and its pages, in a table that months have filled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import psycopg

from benchmarks import old_rows
from benchmarks.apis import USERNAME
from benchmarks.contenders import Place, ours
from benchmarks.drains import work_off
from benchmarks.ground import NO_SERVER, Ground
from benchmarks.ours.preload import KEYED, UNKEYED
from benchmarks.pages import add_person, pages
from benchmarks.rounds import Figures, Goal, Series, Tell, Turn, alternate

PEOPLED = "peopled"
A_FEW = 10_000  # old jobs, after the drain: so that the pages of an empty table are as full as the others'
AUDITED = 1_000_000  # old rows; the audit reads all of them, and minutes of it tell nothing new
NOT_MEASURED = "{name}: not measured. They need {needed:.0f} GiB of disk, and {free:.0f} are free."


def growth(
    ground: Ground,
    *,
    sizes: Sequence[int],
    count: int,
    page_views: int,
    rounds: int,
    tell: Tell,
    with_keys: bool = True,
) -> Series:
    """So many jobs among so many old ones, the sizes by turns; the largest against the smallest. `with_keys`: once more
    with a dedupe key for each job, for such keys lie all over the gate's index."""
    series = Series("growth", "jobs/s")
    sizes = _that_fit(ground, sorted(sizes), series)
    series.subject = name_of(sizes[-1])
    series.goals = (Goal(name_of(sizes[0]), must=0.9, moonshot=0.97),)
    with _peopled(ground), ExitStack() as kept:
        contenders: dict[str, Callable[[], Figures]] = {}
        for size in sizes:
            database = kept.enter_context(_laid(ground, size, rounds, tell)) if size else None
            among = partial(_round, ground, database, count=count)
            contenders[name_of(size)] = partial(among, page_views=page_views)
            if with_keys:
                contenders[f"{name_of(size)}, keyed jobs"] = partial(among, task=KEYED)
        alternate(series, contenders, rounds=rounds, tell=tell)
    return series


def name_of(size: int) -> str:
    return f"{size:,} old rows" if size else "no old rows"


def _that_fit(ground: Ground, sizes: Sequence[int], series: Series) -> Sequence[int]:
    """On the disk, all at once, the smallest first; of the others a note."""
    free = shutil.disk_usage(ground.folder).free
    fitting: list[int] = []
    for size in sizes:
        needed = size * old_rows.BYTES_EACH
        if needed < free or not fitting:
            fitting.append(size)
            free -= needed
        else:
            series.notes.append(NOT_MEASURED.format(name=name_of(size), needed=needed / 2**30, free=free / 2**30))
    return fitting


@contextmanager
def _peopled(ground: Ground) -> Iterator[None]:
    """A database to copy, with our tables and with somebody in it."""
    with ground.fresh_database(migrated=True, name=PEOPLED) as database:
        add_person(ground, database)
        yield


@contextmanager
def _laid(ground: Ground, size: int, rounds: int, tell: Tell) -> Iterator[str]:
    with ground.fresh_database(migrated=True, template=PEOPLED) as database:
        _lay(ground, database, size, lambda what: tell(Turn("growth", 0, rounds, f"{name_of(size)}, {what}"), None))
        yield database


def _lay(ground: Ground, database: str, size: int, note: Callable[[str], None] = lambda _: None) -> None:
    url = ground.postgres.url(database)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT id FROM auth_user WHERE username = %s", [USERNAME]).fetchone()
    assert row is not None
    old_rows.lay(url, size, owner=row[0], note=note)


def _round(ground: Ground, laid: str | None, *, count: int, task: str = UNKEYED, page_views: int = 0) -> Figures:
    with nullcontext(laid) if laid else ground.fresh_database(migrated=True, template=PEOPLED) as database:
        ground.settle()
        place = Place(ground, database, smtp_port=NO_SERVER, folder=ground.fresh_folder("tally"))
        contender = ours(task)
        contender.lay_jobs(place, count)
        figures = work_off(contender, place, count)
        if not laid:
            _lay(ground, database, A_FEW)
        found = {"pages_ms": pages(ground, database, times=page_views)} if page_views else {}
        if _rows(ground, database) <= AUDITED * 1.1:
            ground.manage("audit", database=database)
    return Figures(figures.value, {**figures.more, **found})


def _rows(ground: Ground, database: str) -> float:
    """About so many jobs, as PostgreSQL remembers."""
    with psycopg.connect(ground.postgres.url(database)) as connection:
        row = connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'jobs_job'").fetchone()
    return row[0] if row else 0.0
