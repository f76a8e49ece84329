"""The tables at the end, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from scheduler.soak.bounds import MIB, Bound, has_passed
from scheduler.soak.memory import Held, held
from scheduler.soak.outcome import Outcome
from scheduler.soak.trend import HOUR, Trend, quantile, trend

A_DAY_SECONDS = 86_400
FEWEST_KEYS = 1000  # with fewer, buffers of connections outweigh them
VERDICTS = {True: "holds", False: "BROKEN", None: "too short to tell"}


def print_report(console: Console, outcome: Outcome, bounds: Sequence[Bound]) -> None:
    console.print(_processes(outcome))
    console.print(_whole(outcome))
    console.print(_bounds(bounds))
    broken = [bound.name for bound in bounds if bound.holds is False]
    if broken:
        console.print(f"FAILED: {', '.join(broken)}.", style="bold red", soft_wrap=True)
    else:
        short = sum(bound.holds is None for bound in bounds)
        grows = f"; {short} bounds take a longer run to tell" if short else ", nothing grows"
        console.print(f"PASSED: nothing twice, nothing lost{grows}.", style="bold green")


def as_json(outcome: Outcome, bounds: Sequence[Bound]) -> dict[str, Any]:
    return {
        "passed": has_passed(list(bounds)),
        "asked": asdict(outcome.wish)
        | {"gate_ttl_seconds": outcome.wish.ttl_seconds, "warm_up_seconds": outcome.wish.warm_up_seconds},
        "summary": dict(_summary(outcome)),
        "bounds": [asdict(bound) for bound in bounds],
        "balance": asdict(outcome.balance),
        "statuses": dict(outcome.posts.statuses),
        "missed": outcome.posts.missed,
        "falls": list(outcome.falls),
        "lag_seconds": dict(zip(("p50", "p99", "max"), outcome.lag, strict=True)),
        "redis_bytes_per_key": redis_bytes_per_key(outcome),
        "processes": [asdict(memory) for memory in _all_held(outcome)],
        "restarts": [asdict(restart) for restart in outcome.restarts],
        "samples": [asdict(sample) for sample in outcome.samples],
    }


def redis_bytes_per_key(outcome: Outcome) -> float | None:
    """By how much Redis grows with each key that it remembers (a line through all samples); None of too few keys."""
    seen = [(float(sample.redis_keys), float(sample.redis_bytes)) for sample in outcome.samples]
    line = trend(seen)
    if line is None or max(keys for keys, _ in seen) < FEWEST_KEYS:
        return None
    return line.per_hour / HOUR


# ── Processes ─────────────────────────────────────────────────────────────────────────────────


def _all_held(outcome: Outcome) -> list[Held]:
    return [memory for name in outcome.names if (memory := held(outcome, name)) is not None]


def _processes(outcome: Outcome) -> Table:
    minutes = outcome.steady_seconds / 60
    table = Table(title=f"Processes, in the {minutes:.1f} min after the warm-up", title_justify="left")
    for name in (
        *("process", "lives", "RSS\nMiB", "RSS slope\nMiB/h", "USS slope\nMiB/h", "across\nrestarts"),
        *("CPU", "to Post-\ngreSQL", "to\nRedis", "open\nfiles", "threads"),
    ):
        table.add_column(name, justify="left" if name == "process" else "right", no_wrap=name == "process")
    for memory in _all_held(outcome):
        table.add_row(
            memory.name,
            str(memory.lives),
            f"{memory.rss[0] / MIB:.1f}–{memory.rss[1] / MIB:.1f}",
            _slope(memory.slope),
            _slope(memory.unshared),
            _slope(memory.across) if memory.lives > 1 else "",
            f"{memory.cpu_share:.0%}",
            *(_span(span) for span in (memory.to_postgres, memory.to_redis, memory.files, memory.threads)),
        )
    return table


def _slope(line: Trend | None) -> str:
    return "–" if line is None else f"{line.per_hour / MIB:+.1f} ±{2 * line.error / MIB:.1f}"


def _span(span: tuple[int, int]) -> str:
    least, most = span
    return str(most) if least == most else f"{least}–{most}"


# ── The whole ─────────────────────────────────────────────────────────────────────────────────


def _whole(outcome: Outcome) -> Table:
    table = Table(title="The whole", show_header=False, title_justify="left")
    for name, value in _summary(outcome):
        table.add_row(name, value)
    return table


def _summary(outcome: Outcome) -> Iterable[tuple[str, str]]:
    books, posts, steady = outcome.balance, outcome.posts, outcome.steady
    yield "jobs", f"{posts.drawn} drawn, {books.accepted} accepted, {books.rows} rows; {_fates(outcome)}"
    yield "answer to a post", _quantiles(posts.answer_seconds) + f"; begun late: {_quantiles(posts.late_seconds)}"
    p50, p99, most = outcome.lag
    yield "accepted → final", f"p50 {p50:.3f} s, p99 {p99:.3f} s, max {most:.3f} s"
    yield "backlog", _range([sample.backlog for sample in steady])
    yield "PostgreSQL connections", _range([sample.connections for sample in steady])
    yield "PostgreSQL tables", _tables(outcome)
    yield "Redis", _redis(outcome)
    yield "restarts", _restarts(outcome)
    busy = [sample.machine_busy for sample in steady]
    yield "machine", f"{outcome.processors} processors, {sum(busy) / len(busy):.0%} busy" if busy else "–"


def _fates(outcome: Outcome) -> str:
    books = outcome.balance
    return (
        f"{books.sent_once} sent once, {books.duplicates} duplicates, {books.lost} lost, {books.unknown} unknown, "
        f"{books.dead} dead, {books.stuck} stuck"
    )


def _quantiles(values: Sequence[float]) -> str:
    shares = ((0.5, "p50"), (0.99, "p99"), (1.0, "max"))
    return ", ".join(f"{name} {quantile(values, share):.3f} s" for share, name in shares)


def _range(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)}" if values else "–"


def _tables(outcome: Outcome) -> str:
    size, rows = sum(outcome.samples[-1].tables.values()), max(1, outcome.balance.rows)
    return f"{size / MIB:.0f} MiB with their indexes, {size / rows:.0f} bytes a job, kept for as long as settings say"


def _redis(outcome: Outcome) -> str:
    steady, each = outcome.steady, redis_bytes_per_key(outcome)
    keys, kib = _range([s.redis_keys for s in steady]), _range([round(s.redis_bytes / 1024) for s in steady])
    if each is None:
        return f"{keys} keys, {kib} KiB; too few keys to tell what each costs"
    rate = outcome.posts.accepted / outcome.wish.seconds
    return (
        f"{keys} keys, {kib} KiB; {each:.0f} bytes for each key that is remembered, for {outcome.wish.ttl_seconds} s "
        f"here; for a day at {rate:.0f}/s: {rate * A_DAY_SECONDS * each / MIB:.0f} MiB"
    )


def _restarts(outcome: Outcome) -> str:
    if not outcome.restarts:
        return "none"
    took = sorted(restart.took for restart in outcome.restarts)
    how = "kill -9" if outcome.wish.kill else "SIGTERM, drained"
    return f"{len(took)}, {how}; {quantile(took, 0.5):.1f} s until the new process, at most {took[-1]:.1f} s"


# ── Bounds ────────────────────────────────────────────────────────────────────────────────────


def _bounds(bounds: Sequence[Bound]) -> Table:
    table = Table(title="Bounds", title_justify="left")
    for name in ("bound", "found", "allowed", ""):
        table.add_column(name)
    for bound in bounds:
        style = "red" if bound.holds is False else "dim" if bound.holds is None else ""
        table.add_row(bound.name, bound.found, bound.limit, VERDICTS[bound.holds], style=style)
    return table
