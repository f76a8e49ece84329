"""The verdict on one run: everything that is counted, every finding, and whether the platform has passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from scheduler.torture.balance import Balance, Ending, balance
from scheduler.torture.books import Books
from scheduler.torture.evidence import Evidence
from scheduler.torture.faults import Fault
from scheduler.torture.findings import Finding, Sin
from scheduler.torture.recovery import GRACE_SECONDS, Recovery, Returns, Times, recovery, returns
from scheduler.torture.story import story
from scheduler.torture.unknowns import Unknowns, explain

MOST_STORIES = 50


@dataclass(frozen=True)
class Verdict:
    evidence: Evidence
    balance: Balance
    unknowns: Unknowns
    recovery: Recovery
    after_postgres: Returns
    after_redis: Returns
    findings: list[Finding]  # those of the balance, and those that are about no job

    @property
    def has_passed(self) -> bool:
        return not self.findings

    def count(self, sin: Sin) -> int:
        return sum(finding.sin is sin for finding in self.findings)

    @property
    def limit_seconds(self) -> float:
        """For the recovery of jobs whose worker was killed."""
        return float(self.evidence.run.periods.get("LEASE_SECONDS", "nan")) + GRACE_SECONDS


def judge(evidence: Evidence) -> Verdict:
    books = Books(evidence)
    balanced = balance(books)
    told = [_with_story(books, finding) for finding in balanced.findings[:MOST_STORIES]]
    return Verdict(
        evidence=evidence,
        balance=balanced,
        unknowns=explain(books),
        recovery=recovery(books),
        after_postgres=returns(books, Fault.RESTART_POSTGRES, Fault.POSTGRES_AWAY),
        after_redis=returns(books, Fault.KILL_REDIS, Fault.FLUSH_REDIS),
        findings=[*told, *balanced.findings[MOST_STORIES:], *_about_no_job(evidence)],
    )


def _with_story(books: Books, finding: Finding) -> Finding:
    known = books.offer_of(finding.subject) or finding.subject in books.rows
    return Finding(finding.sin, finding.subject, finding.why, story(books, finding.subject) if known else [])


def _about_no_job(evidence: Evidence) -> Iterator[Finding]:
    for refusal in evidence.refusals:
        yield Finding(Sin.REFUSED, f"number {refusal.number}", refusal.said)
    for fall in evidence.falls:
        yield Finding(Sin.FALLEN, fall.process, fall.words)
    if not evidence.audit.holds:
        yield Finding(Sin.UNBALANCED, "audit", evidence.audit.words)


# ── As JSON ───────────────────────────────────────────────────────────────────────────────────


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Everything that the tables show and more; times in seconds. `at` of events counts from the first job."""
    evidence, counted, unknowns = verdict.evidence, verdict.balance, verdict.unknowns
    run = evidence.run
    return {
        "seed": run.seed,
        "passed": verdict.has_passed,
        "asked": {name: getattr(run, name) for name in run.__struct_fields__},
        "took_seconds": round(evidence.took_seconds, 1),
        "accepted": counted.accepted,
        "unheard": counted.unheard,
        "endings": {ending.value: counted.endings[ending] for ending in Ending},
        "truly_ambiguous": counted.truly_ambiguous,
        "sins": {sin.value: verdict.count(sin) for sin in Sin},
        "unknowns": {
            "causes": {cause.value: count for cause, count in unknowns.causes.items()},
            "worker_kills": unknowns.kills,
            "rest": unknowns.rest,
            "rest_per_kill": round(unknowns.rest_per_kill, 3),
            "server_has_it": sum(unknown.was_kept for unknown in unknowns.listed),
            "closed_by_late_answers": unknowns.closed_by_late_answers,
            "listed": [
                {"job": u.job, "cause": u.cause, "server_has_it": u.was_kept, "worker_killed": u.was_killed}
                for u in unknowns.listed
            ],
        },
        "recovery_after_sigkill": {
            "limit": verdict.limit_seconds,
            "plain": _times(verdict.recovery.plain),
            "after_an_outage": _times(verdict.recovery.after_an_outage),
        },
        "after_postgres": _returns(verdict.after_postgres),
        "after_redis": _returns(verdict.after_redis),
        "mails": {"dots": len(evidence.mails), "kept": sum(mail.kept for mail in evidence.mails)},
        "http": dict(sorted(evidence.statuses.items())),
        "audit": evidence.audit.words,
        "findings": [
            {"sin": f.sin.value, "subject": f.subject, "why": f.why, "story": f.story} for f in verdict.findings
        ],
        "events": [
            {
                "at": round(event.at - evidence.began_at, 2),
                "fault": event.fault,
                "target": event.target,
                "seconds": None if event.over_at is None else round(event.over_at - event.at, 2),
            }
            for event in evidence.events
        ],
    }


def _times(times: Times) -> dict[str, Any]:
    shown = {"p50": times.quantile(0.5), "p99": times.quantile(0.99), "max": times.most}
    rounded = {name: None if value is None else round(value, 2) for name, value in shown.items()}
    return {"n": len(times.values), **rounded, "all": [round(value, 2) for value in times.values]}


def _returns(after: Returns) -> dict[str, Any]:
    return {field.name: _times(getattr(after, field.name)) for field in fields(after)}
