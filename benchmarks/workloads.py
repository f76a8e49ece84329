"""What is measured, beside whom, and what it should come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import apis, drains, latency, native
from benchmarks.contenders import GATED, Contender, celery, dramatiq, ours, pgqueuer, procrastinate
from benchmarks.ground import Ground
from benchmarks.growth import growth
from benchmarks.memory import memory, worker_after
from benchmarks.rounds import OURS, Figures, Goal, Series, Tell, alternate, together
from benchmarks.steps import ALL, steps

MOST_CONNECTIONS = 100
SWEPT_CONNECTIONS = (10, 20, 50, 100, 200, 400)
SWEPT_SECONDS = 10  # about so long for the fewest, of which each carries some ten mails a second


@dataclass(frozen=True)
class Scale:
    """How much of everything: the whole, or enough to see a change."""

    rounds: int
    nothing_jobs: int
    mails: int
    api_seconds: float
    latency_seconds: float
    old_rows: tuple[int, ...]
    page_views: int
    growth_with_keys: bool
    weighed_mails: tuple[int, ...]


WHOLE = Scale(
    rounds=3,
    nothing_jobs=20_000,
    mails=5_000,
    api_seconds=8.0,
    latency_seconds=30.0,
    old_rows=(0, 1_000_000, 10_000_000),
    page_views=30,
    growth_with_keys=True,
    weighed_mails=(5_000, 50_000),
)
QUICK = Scale(
    rounds=1,
    nothing_jobs=3_000,
    mails=1_000,
    api_seconds=2.0,
    latency_seconds=4.0,
    old_rows=(0, 100_000),
    page_views=5,
    growth_with_keys=False,
    weighed_mails=(2_000, 6_000),
)

Workload = Callable[[Ground, Scale, Tell], Series]


def drain(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """Jobs that do nothing and lie ready: claimed, gated, marked and settled; by the others, what they do."""
    series = Series(
        "drain", "jobs/s", goals=(Goal("Celery", must=12, moonshot=20), Goal("pgqueuer", must=0.7, moonshot=1))
    )
    contenders = [make("nothing") for make in (ours, celery, dramatiq, pgqueuer, procrastinate)]
    return _alternate(series, contenders, partial(drains.drain, ground, count=scale.nothing_jobs), scale, tell)


def mail(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """Small mails to different people, to a server that offers PIPELINING."""
    series = Series(
        "mail",
        "mails/s",
        goals=(
            Goal(f"Celery{GATED}", must=7, moonshot=12),
            Goal(f"Dramatiq{GATED}", must=5),
            Goal("pgqueuer", must=2, moonshot=3.5),
            Goal(native.NAME, must=0, moonshot=0.5),
        ),
    )
    senders = [
        ours("send"),
        *(make(task) for make in (celery, dramatiq) for task in ("send_gated", "send")),
        pgqueuer("send"),
        procrastinate("send"),
    ]
    contenders = {each.name: partial(drains.mail, ground, each, count=scale.mails) for each in senders}
    if path := native.program():
        contenders[native.NAME] = partial(native.smtp_source, ground, path, count=scale.mails)
    else:
        series.notes.append(native.NOT_INSTALLED)
    return alternate(series, contenders, rounds=scale.rounds, tell=tell)


def mail_without_pipelining(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """The same mails to a server that wants each command by itself."""
    series = Series("mail without PIPELINING", "mails/s", goals=(Goal(f"Dramatiq{GATED}", must=3, moonshot=5),))
    run = partial(drains.mail, ground, count=scale.mails, sink_options=("--no-pipelining",))
    return _alternate(series, [ours("send"), dramatiq("send_gated")], run, scale, tell)


def mail_far_away(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """The same mails to a server 50 ms away, by one worker process over at most 100 connections."""
    series = Series("mail at 50 ms round trip", "mails/s", at_least=1_000)
    run = partial(
        drains.mail, ground, count=scale.mails, sink_options=("--delay-ms", "50"), connections=MOST_CONNECTIONS
    )
    return _alternate(series, [ours("send", processes=1)], run, scale, tell)


def connections(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """The same, over ever more connections: where does it stop to help?"""
    series = Series("mail at 50 ms round trip, by connections", "mails/s", subject=_over(MOST_CONNECTIONS))
    contenders = {
        _over(most): partial(
            drains.mail,
            ground,
            ours("send", processes=1),
            count=min(scale.mails, most * 10 * SWEPT_SECONDS),
            sink_options=("--delay-ms", "50"),
            connections=most,
        )
        for most in SWEPT_CONNECTIONS
    }
    return alternate(series, contenders, rounds=scale.rounds, tell=tell)


def _over(most: int) -> str:
    return f"{most} connections"


def quiet(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """50 mails a second, posted one by one: from accepted to started."""
    series = Series("latency at 50 jobs/s, p50", "ms", at_most=5)
    run = partial(latency.latency, ground, rate=50, seconds=scale.latency_seconds)
    return alternate(series, {OURS: run}, rounds=scale.rounds, tell=tell)


def api_single(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """One job a request, each with a key of its own: checked, committed and rung for."""
    series = Series(
        "API, single POST",
        "requests/s",
        goals=(Goal("stock DRF + simplejwt", must=2.5), Goal("bare Django view", must=0, moonshot=0.9)),
    )
    contenders = {
        OURS: partial(apis.ours, ground, seconds=scale.api_seconds),
        "stock DRF + simplejwt": partial(apis.stock, ground, "messages/", seconds=scale.api_seconds),
        "bare Django view": partial(apis.stock, ground, "bare/", seconds=scale.api_seconds),
    }
    return alternate(series, contenders, rounds=scale.rounds, tell=tell)


def api_bulk(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """Jobs a second, 200 in each request."""
    series = Series("API, bulk POST", "jobs/s", goals=(Goal("single POST", must=8),))
    contenders: dict[str, Callable[[], Figures]] = {
        OURS: partial(apis.ours, ground, seconds=scale.api_seconds, bulk=200),
        "single POST": partial(apis.ours, ground, seconds=scale.api_seconds),
    }
    return alternate(series, contenders, rounds=scale.rounds, tell=tell)


def api_replay(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """The same key again and again."""
    series = Series("API, replayed key", "requests/s", goals=(Goal("single POST", must=2),))
    contenders: dict[str, Callable[[], Figures]] = {
        OURS: partial(apis.ours, ground, seconds=scale.api_seconds, is_replay=True),
        "single POST": partial(apis.ours, ground, seconds=scale.api_seconds),
    }
    return alternate(series, contenders, rounds=scale.rounds, tell=tell)


def among_old_rows(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """The drain and the pages that people look at, after so many jobs of the past."""
    return growth(
        ground,
        sizes=scale.old_rows,
        count=scale.nothing_jobs,
        page_views=scale.page_views,
        with_keys=scale.growth_with_keys,
        rounds=scale.rounds,
        tell=tell,
    )


def weighed(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """What our processes hold in memory, and whether it grows."""
    some, many = (worker_after(mails) for mails in scale.weighed_mails)
    series = Series("memory (PSS)", "MiB", goals=(Goal(some, must=1.05),), at_most=60, at_best=45, subject=many)
    run = partial(memory, ground, mails=scale.weighed_mails)
    return together(series, run, rounds=scale.rounds, tell=tell)


def one_mail(ground: Ground, scale: Scale, tell: Tell) -> Series:
    """Where a mail's processor time goes, step by step, next to the least that each can cost."""
    series = Series("steps of a mail", "µs of processor time", subject=ALL)
    return together(series, partial(steps, ground, mails=scale.mails), rounds=scale.rounds, tell=tell)


WORKLOADS: dict[str, Workload] = {
    "drain": drain,
    "mail": mail,
    "no-pipelining": mail_without_pipelining,
    "far": mail_far_away,
    "latency": quiet,
    "api": api_single,
    "bulk": api_bulk,
    "replay": api_replay,
    "memory": weighed,
    "growth": among_old_rows,
    "sweep": connections,
    "steps": one_mail,
}
QUICKLY = [name for name in WORKLOADS if name not in ("sweep", "steps")]  # a minute or two, to see what seldom changes


def _alternate(
    series: Series, contenders: list[Contender], run: Callable[[Contender], Figures], scale: Scale, tell: Tell
) -> Series:
    return alternate(series, {each.name: partial(run, each) for each in contenders}, rounds=scale.rounds, tell=tell)
