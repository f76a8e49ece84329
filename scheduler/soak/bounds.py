"""What has to hold at the end of a run, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scheduler.soak.memory import held
from scheduler.soak.outcome import API, SCHEDULER, WORKER, Outcome
from scheduler.soak.trend import Trend, trend

MIB = 1024 * 1024
REACHED_SHARE = 0.95
MEMORY_GROWTH = (4 * MIB, 0.05)  # bytes, or a share of the level, whichever is more; from end to end
FEWEST_SECONDS = 600.0  # in less nobody can tell a leak from a cache or a pool that fills
CONNECTIONS_GROWTH = (2, 0.05)
FILES_GROWTH = (3, 0.05)
REDIS_BYTES_GROWTH = (MIB, 0.05)
REDIS_KEYS_GROWTH = (100, 0.05)  # or a share of all keys
BACKLOG_GROWTH_SECONDS = 5.0  # of the rate


@dataclass(frozen=True)
class Bound:
    """`holds` is None where a run was too short to tell."""

    name: str
    found: str
    limit: str
    holds: bool | None


def judge(outcome: Outcome) -> list[Bound]:
    return [*_books(outcome), *_flow(outcome), *_growth(outcome)]


def has_passed(bounds: list[Bound]) -> bool:
    return all(bound.holds is not False for bound in bounds)


def _books(outcome: Outcome) -> Iterator[Bound]:
    books, kill = outcome.balance, outcome.wish.kill
    found = f"{books.duplicates} duplicates, {books.lost} lost, {books.stuck} stuck, {books.strangers} of no job"
    yield Bound("books", found, "none of each", books.holds)
    yield Bound("audit", "holds" if outcome.audit_holds else outcome.audit_words, "holds", outcome.audit_holds)
    limit = "as many as the kills caught" if kill else "none: no fault was played"
    yield Bound("unknown", str(books.unknown), limit, kill or not books.unknown)
    yield Bound("dead", str(books.dead), "none: no fault was played", not books.dead)
    falls = f"{len(outcome.falls)}, first {outcome.falls[0]}" if outcome.falls else "none"
    yield Bound("fallen processes", falls, "none", not outcome.falls)


def _flow(outcome: Outcome) -> Iterator[Bound]:
    posts = outcome.posts
    reached, drawn = posts.accepted / outcome.wish.seconds, posts.drawn / outcome.wish.seconds
    yield Bound(
        "rate reached",
        f"{reached:.1f}/s of the {drawn:.1f}/s that were drawn",
        f"{REACHED_SHARE:.0%} or more",
        posts.accepted >= REACHED_SHARE * posts.drawn,
    )
    others = {status: count for status, count in posts.statuses.items() if status != "202"}
    told = ", ".join(f"{count} × {status}" for status, count in others.items())
    yield Bound("answers other than 202", told or "none", "none", not others)
    allowed = max(50.0, BACKLOG_GROWTH_SECONDS * outcome.wish.rate)
    line = trend(outcome.series("backlog"))
    yield _grows("backlog", line, allowed, f"{BACKLOG_GROWTH_SECONDS:g} s worth of jobs")


def _growth(outcome: Outcome) -> Iterator[Bound]:
    yield _within("Redis keys beyond its memory", trend(outcome.extra_keys()), (_allowed_keys(outcome), 0.0))
    yield _within("Redis memory", trend(outcome.series("redis_bytes")), REDIS_BYTES_GROWTH, unit=MIB)
    slow = [_within("PostgreSQL connections", trend(outcome.series("connections")), CONNECTIONS_GROWTH)]
    names = [name for name in outcome.names if name.startswith((API, WORKER, SCHEDULER))]
    slow += [bound for name in names if (bound := _memory(outcome, name)) is not None]
    slow += [_most(outcome, names, "files", "open files"), _most(outcome, names, "threads", "threads")]
    is_long = outcome.steady_seconds >= FEWEST_SECONDS
    yield from slow if is_long else (replace(bound, holds=None) for bound in slow)


def _allowed_keys(outcome: Outcome) -> float:
    least, share = REDIS_KEYS_GROWTH
    return max(least, share * max((sample.redis_keys for sample in outcome.steady), default=0))


def _memory(outcome: Outcome, name: str) -> Bound | None:
    memory = held(outcome, name)
    if memory is None:
        return None
    if memory.lives > 1:
        return _within(f"memory across restarts: {name}", memory.across, MEMORY_GROWTH, unit=MIB)
    return _within(f"memory: {name}", memory.slope, MEMORY_GROWTH, unit=MIB)


def _most(outcome: Outcome, names: list[str], what: str, title: str) -> Bound:
    """Of all processes that lived through the one that grows most."""
    seen = {name: outcome.lives(name)[0] for name in names if len(outcome.lives(name)) == 1}
    lines = {name: trend([(at, float(getattr(p, what))) for at, p in life]) for name, life in seen.items()}
    found = {name: line for name, line in lines.items() if line is not None}
    if not found:
        return _within(title, None, FILES_GROWTH)
    most = max(found, key=lambda name: found[name].growth)
    bound = _within(title, found[most], FILES_GROWTH)
    return replace(bound, found=f"{most}: {bound.found}")


def _within(name: str, line: Trend | None, allowance: tuple[float, float], *, unit: int = 1) -> Bound:
    least, share = allowance
    allowed = max(least, share * line.level) if line else least
    return _grows(name, line, allowed, f"{allowed / unit:.1f}{_unit(unit)}", unit=unit)


def _grows(name: str, line: Trend | None, allowed: float, limit: str, *, unit: int = 1) -> Bound:
    limit = f"grows by no more than {limit}"
    if line is None:
        return Bound(name, "too few samples", limit, None)
    found = f"{line.growth / unit:+.1f}{_unit(unit)} in {line.seconds / 60:.1f} min"
    return Bound(name, found, limit, not line.grows_by_more_than(allowed))


def _unit(unit: int) -> str:
    return " MiB" if unit == MIB else ""
