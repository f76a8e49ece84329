"""The server's book against ours: where every job ended, and whether it may have ended there.

Each job gets one ending. What is wrong with it is a finding beside that. A job is judged by what others saw of it: sent
is what the SMTP server keeps, dead is what it refused for good, ambiguous is what the witness saw marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scheduler.torture.books import Books
from scheduler.torture.findings import Finding, Sin

FINAL = frozenset({"completed", "failed", "cancelled", "expired"})
LIVE = frozenset({"scheduled", "queued", "running"})
ANSWERED = frozenset({"sent", "transient", "permanent"})


class Ending(StrEnum):
    """Where a job ended."""

    SENT_ONCE = "sent once"
    SUPPRESSED = "suppressed"  # another job of its group was sent
    UNKNOWN = "unknown"
    HELD = "held"  # waits beside an unknown one of its group
    DEAD = "dead"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True)
class Balance:
    accepted: int  # jobs that a client was told of
    unheard: int  # jobs that were accepted, but the answer was lost on its way
    endings: Counter[Ending]
    truly_ambiguous: int
    findings: list[Finding]

    def count(self, sin: Sin) -> int:
        return sum(finding.sin is sin for finding in self.findings)


def balance(books: Books) -> Balance:
    endings = {job: _ending(books, job) for job in books.jobs}
    findings = [
        *_duplicates(books),
        *_mangled(books),
        *(found for job, ending in endings.items() for found in _judge(books, job, ending)),
        *_unmarked(books),
        *_revived(books),
        *_split_keys(books),
        *_strays(books),
    ]
    unknown = sum(ending is Ending.UNKNOWN for ending in endings.values())
    falsely = {f.subject for f in findings if f.sin is Sin.FALSELY_UNKNOWN and endings[f.subject] is Ending.UNKNOWN}
    return Balance(
        accepted=len(books.answers),
        unheard=len(books.unheard),
        endings=Counter(endings.values()),
        truly_ambiguous=unknown - len(falsely),
        findings=findings,
    )


def _ending(books: Books, job: str) -> Ending:
    row = books.rows.get(job)
    if row is None:
        return Ending.LOST
    if row.status in LIVE:
        return Ending.LIVE
    if row.status == "failed":
        return Ending.DEAD
    if row.status == "unknown":
        return Ending.HELD if row.held_behind else Ending.UNKNOWN
    if row.status == "completed" and books.kept(job):
        return Ending.SENT_ONCE
    if row.status == "completed" and row.duplicate_of and _was_sent_for(books, job, row.duplicate_of):
        return Ending.SUPPRESSED
    return Ending.LOST  # also what nobody has asked for: cancelled, expired


def _was_sent_for(books: Books, job: str, other: str) -> bool:
    return books.group_of(job) == books.group_of(other) and bool(books.kept(other))


# ── One job ───────────────────────────────────────────────────────────────────────────────────


def _judge(books: Books, job: str, ending: Ending) -> Iterator[Finding]:
    match ending:
        case Ending.LOST:
            row = books.rows.get(job)
            why = f"it is {row.status}, and the server has no copy" if row else "its row is gone"
            yield Finding(Sin.LOST, job, why)
        case Ending.LIVE:
            yield Finding(Sin.STUCK, job, f"it is {books.rows[job].status}")
        case Ending.DEAD:
            yield from _judge_dead(books, job)
        case Ending.UNKNOWN:
            yield from _judge_unknown(books, job)
        case Ending.HELD:
            yield from _judge_held(books, job)


def _judge_dead(books: Books, job: str) -> Iterator[Finding]:
    if books.kept(job):
        yield Finding(Sin.FALSELY_DEAD, job, "the server has it")
    elif not any(deed.is_permanent for deed in books.deeds_to(job)):
        yield Finding(Sin.FALSELY_DEAD, job, f"the server never answered it with a 5xx ({books.rows[job].error})")


def _judge_unknown(books: Books, job: str) -> Iterator[Finding]:
    """Truly ambiguous: the dot mark was committed under this claim, and no reply to it was recorded."""
    delivery = books.unknown_deliveries.get(job)
    if delivery is None or delivery.claim is None:
        yield Finding(Sin.FALSELY_UNKNOWN, job, "its delivery is not unknown")
    elif delivery.claim not in books.marks:
        yield Finding(Sin.FALSELY_UNKNOWN, job, f"no dot was ever marked under claim {delivery.claim}")
    else:
        # What an earlier provider refused under the same claim is no reply to this dot.
        marked_at, history = books.marks[delivery.claim].at, books.attempts.get(delivery.claim, [])
        said = {attempt.outcome for attempt in history if attempt.at >= marked_at} & ANSWERED
        if said:
            yield Finding(Sin.FALSELY_UNKNOWN, job, f"a reply to it is on record: {', '.join(sorted(said))}")


def _judge_held(books: Books, job: str) -> Iterator[Finding]:
    others = [other for other in books.groups[books.group_of(job)] if other in books.unknown_deliveries]
    if not others:
        yield Finding(Sin.FALSELY_UNKNOWN, job, "it waits beside a job that is not unknown")


# ── All together ──────────────────────────────────────────────────────────────────────────────


def _duplicates(books: Books) -> Iterator[Finding]:
    """One finding for each copy too many."""
    for jobs in books.groups.values():
        copies = [(mail.heard_at, job) for job in jobs for mail in books.kept(job)]
        allowed = 1 + sum(books.decided.get(job, []).count("send_again") for job in jobs)
        for _, job in sorted(copies)[allowed:]:
            yield Finding(Sin.DUPLICATE, job, f"{len(copies)} copies of one message, {allowed} allowed")


def _mangled(books: Books) -> Iterator[Finding]:
    for job in books.mails:
        offer = books.offer_of(job)
        for mail in books.kept(job):
            if not mail.is_whole:
                yield Finding(Sin.MANGLED, job, "its text is not the one that was submitted")
            if offer is not None and mail.recipient != offer.recipient:
                yield Finding(Sin.MANGLED, job, f"it is for {mail.recipient}, not for {offer.recipient}")


def _unmarked(books: Books) -> Iterator[Finding]:
    """The n-th dot of a job that the server heard needs n marks that had been committed by then."""
    for job, mails in books.mails.items():
        marks = sorted(step.at for step in books.marks_of(job))
        for number, mail in enumerate(sorted(mails, key=lambda mail: mail.heard_at), 1):
            if sum(at <= mail.heard_at for at in marks) < number:
                yield Finding(Sin.UNMARKED, job, f"dot {number} was heard with {len(marks)} marks")


def _revived(books: Books) -> Iterator[Finding]:
    for job, moves in books.moves.items():
        for move in moves:
            if move.old in FINAL and move.new != move.old and not books.decided.get(job):
                yield Finding(Sin.REVIVED, job, f"{move.old} → {move.new or 'deleted'}")
    for job, steps in books.steps.items():
        for step in steps:
            if step.old == "sent" and step.new != "sent" and not books.decided.get(job):
                yield Finding(Sin.REVIVED, job, f"its delivery: sent → {step.new or 'deleted'}")


def _split_keys(books: Books) -> Iterator[Finding]:
    jobs_of: dict[str, set[str]] = {}
    for answer in books.evidence.answers:
        offer = books.offers.get(answer.number)
        if offer and offer.key:
            jobs_of.setdefault(offer.key, set()).add(answer.job)
    for row in books.evidence.rows:
        if row.key:
            jobs_of.setdefault(row.key, set()).add(row.id)
    for key, jobs in jobs_of.items():
        if len(jobs) > 1:
            yield Finding(Sin.SPLIT_KEY, key, f"jobs {', '.join(sorted(jobs))}")


def _strays(books: Books) -> Iterator[Finding]:
    """A row that nobody was told of is all right for each request whose answer was lost, if it could make a new job:
    one with an Idempotency-Key could not, once another row had answered it."""
    lost = Counter(loss.number for loss in books.evidence.losses)
    answered = {answer.number for answer in books.evidence.answers}
    for job in books.unheard:
        offer = books.offer_of(job)
        if offer is None or not lost[offer.number] or (offer.key and offer.number in answered):
            yield Finding(Sin.STRAY, job, "a row, but no client can have caused it")
        else:
            lost[offer.number] -= 1
    for job, mails in books.mails.items():
        if job not in books.rows:
            yield Finding(Sin.STRAY, job or "no job", f"{len(mails)} mails of a job that has no row")
