"""Proof that the books balance: every accepted job stands somewhere, and deliveries, jobs and dead letters agree.

Read only, in one snapshot; it may run beside working workers. What each check means stands in its
statement, jobs/sql/audit_*.sql. A violation is a bug of ours or a hand in the tables, never weather.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

from jobs.sql import STATEMENTS, run
from jobs.states import Status

PREFIX = "audit_"
STATUSES = f"{PREFIX}statuses"
CHECKS = tuple(name for name in STATEMENTS if name.startswith(PREFIX) and name != STATUSES)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how many rows break it, and up to five of their ids."""

    name: str
    count: int
    examples: list[str]

    @property
    def is_ok(self) -> bool:
        return self.count == 0


@dataclass(frozen=True, slots=True)
class Books:
    """Where all accepted jobs stand, and what every check found, in one snapshot."""

    counts: dict[str, int]  # by status, all statuses named
    findings: list[Finding]

    @property
    def accepted(self) -> int:
        return sum(self.counts.values())

    @property
    def is_balanced(self) -> bool:
        return all(finding.is_ok for finding in self.findings)


def audit() -> list[Finding]:
    """Every check, in order; the books balance when all are ok."""
    return read_books().findings


def read_books() -> Books:
    """Read all books in one snapshot (inside an open transaction: in that one's)."""
    if connection.in_atomic_block:
        return _read()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _read()


def _read() -> Books:
    found = {row.status: row.count for row in run(STATUSES)}
    counts = {status.value: 0 for status in Status} | found
    return Books(counts=counts, findings=[_check(name) for name in CHECKS])


def _check(name: str) -> Finding:
    (row,) = run(name)
    return Finding(name=name.removeprefix(PREFIX), count=row.count, examples=row.examples or [])
