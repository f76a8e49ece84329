"""Who reads everything that the tables say after every move, and compares it with what they said before.

Did the move change only what it may, along an arrow of the pictures? Were tokens, budgets and deaths counted rightly?
Do the books balance (K1, K2, the audit)? A connection of its own sees what is committed and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection
from psycopg.rows import namedtuple_row

from jobs.audit import CHECKS
from jobs.sql import STATEMENTS
from jobs.states import FINAL
from tests.jobs.transitions.pictures import DELIVERIES, JOBS, Arrow

# A row's xmin changes with every write to it, so that none goes unseen, whatever it wrote.
JOB_ROWS = (
    "SELECT id, dedupe_hash, status, claim, worker, attempts, max_attempts, deaths, in_doubt, held_behind,"
    " duplicate_of, on_unknown, expires_at IS NOT NULL AS expires, xmin::text AS version FROM jobs_job"
)
DELIVERY_ROWS = "SELECT dedupe_hash, job_id, claim, state, xmin::text AS version FROM jobs_delivery"
LETTER_ROWS = (  # without what a provider says about it, which is noted whenever it comes
    "SELECT id, job_id, claim, reason, resolution, resolved_at::text, resolved_by_id, note FROM jobs_deadletter"
)
HISTORY = "SELECT job_id, claim, outcome FROM jobs_attempt"
AUDIT = " UNION ALL ".join(f"SELECT '{name}' AS name, found.* FROM ({STATEMENTS[name]}) AS found" for name in CHECKS)


@dataclass(frozen=True)
class Books:
    """Everything that PostgreSQL says, at one moment."""

    jobs: dict[UUID, Any]
    deliveries: dict[bytes, Any]
    letters: dict[int, Any]
    history: Counter[tuple[UUID, int, str]]  # job, claim, outcome

    def delivery_of(self, job: Any) -> Any | None:
        return self.deliveries.get(job.dedupe_hash)

    def letters_of(self, job_id: UUID) -> list[Any]:
        return [letter for letter in self.letters.values() if letter.job_id == job_id]

    def outcomes(self, token: int) -> set[str]:
        return {outcome for _, claim, outcome in self.history if claim == token}

    def held_by(self, tokens: Collection[int]) -> set[UUID]:
        """The jobs for which one of these claims is still good: they run under it, or their delivery names it."""
        running = {job.id for job in self.jobs.values() if job.status == "running" and job.claim in tokens}
        return running | {delivery.job_id for delivery in self.deliveries.values() if delivery.claim in tokens}


class Observer:
    """Holds the books as they were after the last move, and once something was wrong remembers that it was."""

    def __init__(self, eyes: psycopg.Connection[Any], *, check: Callable[[Books], None]) -> None:
        self._eyes = eyes
        self._check = check
        self.books = self._read()
        self.seen: Counter[tuple[str, Arrow]] = Counter()  # "job" or "delivery", arrow
        self.has_failed = False
        self._newest_token = 0
        self._lost: Counter[UUID] = Counter()  # trips that nobody ended, since the job's budget was new

    @contextmanager
    def watch(self, move: str, *, jobs: Collection[UUID] = (), tokens: Collection[int] = ()) -> Iterator[None]:
        """Around one move. It may change these jobs, or those for which these claims are still good, with their
        deliveries and dead letters; and nothing else."""
        before = self.books
        mine = {*jobs} | before.held_by(tokens)
        try:
            yield
            self.books = self._read()
            if self.books != before:
                self._compare_all(before, self.books, move, mine)
                self._count_all(before, self.books, move)
                self._balance(self.books)
            self._check(self.books)
        except BaseException:
            self.has_failed = True
            raise

    # ── What the tables say ───────────────────────────────────────────────────────────────────

    def _read(self) -> Books:
        jobs, deliveries, letters, history = map(self._rows, (JOB_ROWS, DELIVERY_ROWS, LETTER_ROWS, HISTORY))
        return Books(
            jobs={row.id: row for row in jobs},
            deliveries={row.dedupe_hash: row for row in deliveries},
            letters={row.id: row for row in letters},
            history=Counter(tuple(row) for row in history),
        )

    def _rows(self, statement: str) -> list[Any]:
        with self._eyes.cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute(statement.encode(), prepare=True).fetchall()

    # ── Only what it may ──────────────────────────────────────────────────────────────────────

    def _compare_all(self, before: Books, after: Books, move: str, mine: set[UUID]) -> None:
        for job_id in {*before.jobs, *after.jobs}:
            self._compare(before.jobs.get(job_id), after.jobs.get(job_id), move, job_id in mine, "job")
        keys = {after.jobs[job_id].dedupe_hash for job_id in mine}
        for key in {*before.deliveries, *after.deliveries}:
            self._compare(before.deliveries.get(key), after.deliveries.get(key), move, key in keys, "delivery")
        for letter_id in {*before.letters, *after.letters}:
            was, is_ = before.letters.get(letter_id), after.letters.get(letter_id)
            if was != is_:
                assert is_ is not None, f"{move} lost a dead letter: {was}"
                assert is_.job_id in mine, f"{move} changed somebody else's dead letter: {_change(was, is_)}"
                assert was is None or was.resolution is None, f"{move} decided once more: {_change(was, is_)}"
        assert before.history <= after.history, "history is append only"

    def _compare(self, was: Any, is_: Any, move: str, is_mine: bool, what: str) -> None:
        if was == is_:
            return
        assert is_ is not None, f"{move} lost a {what}: {was}"
        assert is_mine, f"{move} changed somebody else's {what}: {_change(was, is_)}"
        arrow = was and _state(was), _state(is_)
        if arrow[0] == arrow[1]:
            assert arrow[1] not in FINAL, f"{move} changed a {what} that is final: {_change(was, is_)}"
            assert was.claim == is_.claim, f"{move} took a {what} from another claim: {_change(was, is_)}"
            return
        assert arrow in (JOBS if what == "job" else DELIVERIES).get(move, ()), f"{move}: {what} {arrow}"
        self.seen[what, arrow] += 1

    # ── Rightly counted ───────────────────────────────────────────────────────────────────────

    def _count_all(self, before: Books, after: Books, move: str) -> None:
        changed = [(before.jobs[job.id], job) for job in after.jobs.values() if before.jobs.get(job.id, job) != job]
        given = sorted(job.claim for was, job in changed if job.claim != was.claim)
        assert not given or move == "claim", f"{move} gave a token"
        assert all(token > self._newest_token for token in given), "a token was given before"
        assert len({*given}) == len(given), "a token was given twice"
        self._newest_token = max([self._newest_token, *given])
        for was, job in changed:
            self._count_attempts(job, move)
            step = job.deaths - was.deaths
            assert step in {0, 1} if move == "rescue" else step == 0 or job.deaths == 0, f"{move}: {step} deaths"

    def _count_attempts(self, job: Any, move: str) -> None:
        """Each is spent by an ending, given back, or lost with the worker that made it."""
        if move == "decide" and job.attempts == 0:
            self._lost[job.id] = 0
        if move in {"rescue", "sweep"} and job.status == "queued":
            self._lost[job.id] += 1
        assert 0 <= job.attempts <= job.max_attempts + self._lost[job.id], f"{move}: attempts {job.attempts}"

    # ── In balance ────────────────────────────────────────────────────────────────────────────

    def _balance(self, books: Books) -> None:
        for delivery in books.deliveries.values():
            job = books.jobs[delivery.job_id]
            if delivery.state in {"claimed", "dot"}:
                assert (job.status, job.claim) == ("running", delivery.claim), f"K1: {delivery}, {job}"
            if delivery.state == "unknown":
                assert (job.status, job.held_behind) == ("unknown", None), f"K2: {delivery}, {job}"
        findings = [finding for finding in self._rows(AUDIT) if finding.count]
        assert not findings, f"the audit found {findings}"


def _state(row: Any) -> str:
    return row.status if hasattr(row, "status") else row.state


def _change(was: Any, is_: Any) -> str:
    if was is None or is_ is None:
        return f"{was} → {is_}"
    columns = zip(was._fields, was, is_, strict=True)
    return f"{was.id if 'id' in was._fields else was.job_id}: " + ", ".join(
        f"{name} {old!r} → {new!r}" for name, old, new in columns if old != new
    )


def eyes() -> psycopg.Connection[Any]:
    """A second connection to the test's database; its statements are planned once. Close it after use."""
    how = connection.get_connection_params() | {"prepare_threshold": 0, "autocommit": True}
    return psycopg.connect(**how | {"cursor_factory": psycopg.Cursor})
