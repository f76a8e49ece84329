"""Why each unknown is one: what the SMTP server's book, the witness and the diary of kills say about its dot.

No protocol can do without the first causes: the server never answered, or its answer was still to come when the worker
died. The rest is the price of ours, and is counted against the kills: between mark and dot, and between reply and
settlement, which last as long as PostgreSQL is away, a worker can be killed, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.torture.books import Books
from scheduler.torture.evidence import Event, Mail
from scheduler.torture.faults import Fault

REST_PER_KILL = 0.2  # the figure to reach
CLOSING_SECONDS = 1.0  # a server that stops takes so long to close its connections
SETTLING_SECONDS = 0.25  # an outage that begins so soon after an answer breaks the commit that writes it down


class Cause(StrEnum):
    SERVER_SILENT = "server silent"  # it hung up or stalled after the dot, or with the dot on its way
    UNANSWERED_AT_KILL = "unanswered at the kill"  # the dot was on the wire, the answer was not
    NOWHERE_TO_SETTLE = "answered while PostgreSQL was away"  # … and killed before it was back
    BEFORE_DOT = "mark committed, no dot"
    REPLY_NOT_SETTLED = "reply not settled"  # the server had answered, no settlement was committed
    UNEXPLAINED = "unexplained"  # the worker lived, and the server answered


UNAVOIDABLE = frozenset({Cause.SERVER_SILENT, Cause.UNANSWERED_AT_KILL})


@dataclass(frozen=True)
class Unknown:
    """One job that is unknown in the end."""

    job: str
    claim: int
    cause: Cause
    was_kept: bool  # what no one can know but the judge
    was_killed: bool  # its worker


@dataclass(frozen=True)
class Unknowns:
    listed: Sequence[Unknown]
    kills: int
    closed_by_late_answers: int  # jobs that were unknown for a while

    @property
    def causes(self) -> Counter[Cause]:
        return Counter(dict.fromkeys(Cause, 0) | Counter(unknown.cause for unknown in self.listed))

    @property
    def rest(self) -> int:
        return sum(unknown.cause not in UNAVOIDABLE for unknown in self.listed)

    @property
    def rest_per_kill(self) -> float:
        return self.rest / self.kills if self.kills else float(self.rest)

    @property
    def is_met(self) -> bool:
        return self.rest <= REST_PER_KILL * self.kills


def explain(books: Books) -> Unknowns:
    """The marked ones; those that never were are falsely unknown, and no cause explains them."""
    deliveries = books.unknown_deliveries
    listed = [
        _explain(books, job, delivery.claim)
        for job, delivery in sorted(deliveries.items())
        if delivery.claim is not None and delivery.claim in books.marks
    ]
    left = {move.job for move in books.evidence.moves if move.old == "unknown" and move.new != "unknown"}
    closed = sum(job not in deliveries and not _was_only_held(books, job) for job in left)
    return Unknowns(listed, kills=len(books.killings), closed_by_late_answers=closed)


def _was_only_held(books: Books, job: str) -> bool:
    return not any(step.old == "unknown" for step in books.steps.get(job, []))


def _explain(books: Books, job: str, claim: int) -> Unknown:
    mail = _mail_of(books, job, claim)
    killing = books.killing_of(books.worker_of.get(claim))
    return Unknown(
        job,
        claim,
        cause=_cause(books, job, claim, mail, killing),
        was_kept=mail is not None and mail.kept,
        was_killed=killing is not None,
    )


def _mail_of(books: Books, job: str, claim: int) -> Mail | None:
    """The dot that belongs to this mark: heard after it, and before the next mark of the same job."""
    marks = sorted(step.at for step in books.marks_of(job))
    begin = books.marks[claim].at
    end = next((at for at in marks if at > begin), float("inf"))
    heard = [mail for mail in books.mails.get(job, []) if begin <= mail.heard_at < end]
    return heard[0] if heard else None


def _cause(books: Books, job: str, claim: int, mail: Mail | None, killing: Event | None) -> Cause:
    if mail is None:
        return Cause.SERVER_SILENT if _was_cut_off(books, job, claim, killing) else Cause.BEFORE_DOT
    if mail.answered_at is None:
        planned = any(deed.is_silent and deed.connection == mail.connection for deed in books.deeds_to(job))
        return Cause.SERVER_SILENT if planned or killing is None else Cause.UNANSWERED_AT_KILL
    if killing is not None and mail.answered_at >= killing.at:
        return Cause.UNANSWERED_AT_KILL
    if killing is not None:
        return Cause.NOWHERE_TO_SETTLE if _was_away(books, mail.answered_at, killing.at) else Cause.REPLY_NOT_SETTLED
    return Cause.SERVER_SILENT if _was_too_late(books, claim, mail) else Cause.UNEXPLAINED


def _was_cut_off(books: Books, job: str, claim: int, killing: Event | None) -> bool:
    """The server hung up while this attempt was under way: the dot may have met a closed door."""
    mark = books.marks[claim].at
    begin, end = books.claimed_at.get(claim, mark), mark + CLOSING_SECONDS
    if killing is not None:
        end = min(end, killing.at)
    hung_up = [deed.at for deed in books.deeds_to(job) if deed.is_silent and deed.phase != "dot"]
    stopped = [at for at, _ in books.outages(Fault.REFUSE)]
    return any(begin <= at <= end for at in hung_up + stopped)


def _was_away(books: Books, answered_at: float, killed_at: float) -> bool:
    """PostgreSQL was, from the answer, or the commit that was to write it down, to the kill."""
    outages = books.outages(Fault.RESTART_POSTGRES, Fault.POSTGRES_AWAY)
    return any(away <= answered_at + SETTLING_SECONDS and killed_at <= back for away, back in outages)


def _was_too_late(books: Books, claim: int, mail: Mail) -> bool:
    """The answer came after the worker had stopped waiting for it."""
    patience = float(books.evidence.run.periods.get("DOT_TIMEOUT_SECONDS", "inf"))
    return mail.answered_at is not None and mail.answered_at >= books.marks[claim].at + patience
