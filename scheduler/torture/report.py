"""The tables at the end: one line for each seed, then what stands behind the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from rich.console import Console
from rich.table import Table

from scheduler.torture.balance import Ending
from scheduler.torture.findings import Finding, Sin
from scheduler.torture.recovery import BACK_SECONDS, GRACE_SECONDS, Returns, Times
from scheduler.torture.unknowns import REST_PER_KILL, UNAVOIDABLE, Cause
from scheduler.torture.verdict import Verdict, as_json

SHOWN_FINDINGS = 10
COLUMNS = (
    *("seed", "accepted", "sent\nonce", "dupli-\ncates", "lost", "unknown", "truly\nambiguous", "falsely\nunknown"),
    *("dead", "falsely\ndead", "workers\nkilled", "recovery\np50 s", "\np99 s", "\nmax s", "audit"),
)
IN_THE_TABLE = (Sin.DUPLICATE, Sin.LOST, Sin.FALSELY_UNKNOWN, Sin.FALSELY_DEAD)


def print_report(console: Console, verdicts: Sequence[Verdict]) -> None:
    console.print(_seeds(verdicts))
    console.print(_whole(verdicts))
    for verdict in verdicts:
        _print_findings(console, verdict)
    bad = [str(verdict.evidence.run.seed) for verdict in verdicts if not verdict.has_passed]
    if bad:
        console.print(f"FAILED: seed {', '.join(bad)}.", style="bold red")
    else:
        console.print("PASSED: nothing twice, nothing lost, nothing held or buried without need.", style="bold green")


def series_as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "passed": all(verdict.has_passed for verdict in verdicts),
        "summary": dict(_summary(verdicts)),
        "seeds": [as_json(verdict) for verdict in verdicts],
    }


# ── One line for each seed ────────────────────────────────────────────────────────────────────


def _seeds(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="Each seed")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for verdict in verdicts:
        table.add_row(str(verdict.evidence.run.seed), *_cells([verdict]), style="" if verdict.has_passed else "red")
    if len(verdicts) > 1:
        table.add_section()
        table.add_row("all", *_cells(verdicts), style="bold")
    return table


def _cells(verdicts: Sequence[Verdict]) -> Iterable[str]:
    balances = [verdict.balance for verdict in verdicts]
    twice, lost, falsely_unknown, falsely_dead = (sum(v.count(sin) for v in verdicts) for sin in IN_THE_TABLE)
    endings = {ending: sum(balance.endings[ending] for balance in balances) for ending in Ending}
    times = Times.of(chain.from_iterable(verdict.recovery.plain.values for verdict in verdicts))
    yield str(sum(balance.accepted for balance in balances))
    yield str(endings[Ending.SENT_ONCE])
    yield str(twice)
    yield str(lost)
    yield str(endings[Ending.UNKNOWN])
    yield str(sum(balance.truly_ambiguous for balance in balances))
    yield str(falsely_unknown)
    yield str(endings[Ending.DEAD])
    yield str(falsely_dead)
    yield str(sum(verdict.unknowns.kills for verdict in verdicts))
    yield from (_seconds(value) for value in (times.quantile(0.5), times.quantile(0.99), times.most))
    yield "holds" if all(verdict.evidence.audit.holds for verdict in verdicts) else "FAILS"


# ── What stands behind them ───────────────────────────────────────────────────────────────────


def _whole(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="What stands behind the figures", show_header=False, title_justify="left")
    for name, value in _summary(verdicts):
        table.add_row(name, str(value))
    return table


def _summary(verdicts: Sequence[Verdict]) -> Iterable[tuple[str, Any]]:
    yield "jobs", _jobs(verdicts)
    yield "unknown, by cause", _causes(verdicts)
    yield "unknown, avoidable", _rest(verdicts)
    yield "recovery after SIGKILL", _recovery(verdicts)
    yield "back after PostgreSQL", _returns([verdict.after_postgres for verdict in verdicts])
    yield "back after Redis", _returns([verdict.after_redis for verdict in verdicts])
    yield "done to the platform", _events(verdicts)
    yield "done by the SMTP server", _deeds(verdicts)
    yield "heard by the clients", _statuses(verdicts)
    yield "other findings", _others(verdicts)


def _jobs(verdicts: Sequence[Verdict]) -> str:
    counted = {ending: sum(v.balance.endings[ending] for v in verdicts) for ending in Ending}
    accepted = sum(v.balance.accepted for v in verdicts)
    unheard = sum(v.balance.unheard for v in verdicts)
    parts = " + ".join(f"{count} {ending}" for ending, count in counted.items() if count)
    return f"{accepted} accepted + {unheard} whose answer was lost on its way = {parts}"


def _causes(verdicts: Sequence[Verdict]) -> str:
    causes = {cause: sum(v.unknowns.causes[cause] for v in verdicts) for cause in Cause}
    late = sum(v.unknowns.closed_by_late_answers for v in verdicts)
    told = ", ".join(f"{count} {cause}" for cause, count in causes.items())
    return f"{told}; {late} more were closed by late answers"


def _rest(verdicts: Sequence[Verdict]) -> str:
    kills = sum(v.unknowns.kills for v in verdicts)
    rest = sum(v.unknowns.rest for v in verdicts)
    ratio = rest / kills if kills else float(rest)
    named = ", ".join(cause for cause in Cause if cause not in UNAVOIDABLE)
    met = "met" if rest <= REST_PER_KILL * kills else "NOT met"
    return f"{rest} in {kills} kills of workers = {ratio:.2f} each, of {REST_PER_KILL} allowed: {met} ({named})"


def _recovery(verdicts: Sequence[Verdict]) -> str:
    plain = Times.of(chain.from_iterable(v.recovery.plain.values for v in verdicts))
    late = Times.of(chain.from_iterable(v.recovery.after_an_outage.values for v in verdicts))
    limit = verdicts[0].limit_seconds
    worst = max((times.quantile(0.99) or 0.0 for times in (plain, late)), default=0.0)
    met = "met" if worst <= limit else "NOT met"
    told = f"{_told(plain)}; with PostgreSQL away in between, after its return: {_told(late)}"
    return f"{told}; p99 ≤ lease + {GRACE_SECONDS:g} s = {limit:g} s: {met}"


def _returns(all_of_them: Sequence[Returns]) -> str:
    names = {
        "complaint": "last 5xx",
        "claim": "first claim",
        "chore": "first promotion",
        "beat": "first heartbeat",
        "claim_amid_trials": "first claim amid trials",
    }
    times = {name: Times.of(chain.from_iterable(getattr(r, name).values for r in all_of_them)) for name in names}
    told = "; ".join(f"{names[name]}: {_told(of)}" for name, of in times.items() if of.values)
    late = max(of.most or 0.0 for name, of in times.items() if name != "claim_amid_trials")
    return f"{told or 'it was not away'}; at most {BACK_SECONDS:g} s: {'met' if late <= BACK_SECONDS else 'NOT met'}"


def _told(times: Times) -> str:
    if not times.values:
        return "none"
    p50, p99 = times.quantile(0.5), times.quantile(0.99)
    return f"n {len(times.values)}, p50 {_seconds(p50)}, p99 {_seconds(p99)}, max {_seconds(times.most)} s"


def _events(verdicts: Sequence[Verdict]) -> str:
    return _counted(event.fault for verdict in verdicts for event in verdict.evidence.events)


def _deeds(verdicts: Sequence[Verdict]) -> str:
    """Answers by their first digit."""
    deeds = chain.from_iterable(verdict.evidence.deeds for verdict in verdicts)
    return _counted(f"{deed.did[0]}xx" if deed.did[0] in "45" else deed.did for deed in deeds)


def _statuses(verdicts: Sequence[Verdict]) -> str:
    return _counted(chain.from_iterable([said] * n for v in verdicts for said, n in v.evidence.statuses.items()))


def _others(verdicts: Sequence[Verdict]) -> str:
    return _counted(f.sin for v in verdicts for f in v.findings if f.sin not in IN_THE_TABLE) or "none"


def _counted(words: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


# ── Findings ──────────────────────────────────────────────────────────────────────────────────


def _print_findings(console: Console, verdict: Verdict) -> None:
    for finding in verdict.findings[:SHOWN_FINDINGS]:
        console.print(f"\nSeed {verdict.evidence.run.seed}: {_headline(finding)}", style="red", soft_wrap=True)
        for line in finding.story:
            console.print(f"  {line}", soft_wrap=True)
    if len(verdict.findings) > SHOWN_FINDINGS:
        console.print(f"… and {len(verdict.findings) - SHOWN_FINDINGS} more; --json has them all.")


def _headline(finding: Finding) -> str:
    return f"{finding.sin.upper()} {finding.subject}: {finding.why} ({finding.sin.text})"
