"""What is known of one job, from all books, in the order of time: for whoever has to find out why."""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.torture.books import Books


def story(books: Books, job: str) -> list[str]:
    """Lines such as `  12.345 s  witness      running → unknown, claim 7`."""
    lines = sorted(_lines(books, job), key=lambda line: line[0])
    began = books.evidence.began_at
    return [f"{at - began:9.3f} s  {who:<12} {what}" for at, who, what in lines]


def _lines(books: Books, job: str) -> Iterator[tuple[float, str, str]]:
    for answer in books.answers.get(job, []):
        yield answer.at, "client", f"told that it is accepted{' (a replay)' if answer.is_replay else ''}"
    for move in books.moves.get(job, []):
        by = f", worker {move.worker}" if move.new == "running" else ""
        yield move.at, "witness", f"job {move.old or 'none'} → {move.new or 'gone'}, claim {move.claim}{by}"
    for step in books.steps.get(job, []):
        yield step.at, "witness", f"delivery {step.old or 'none'} → {step.new or 'gone'}, claim {step.claim}"
    for deed in books.deeds_to(job):
        yield deed.at, "SMTP server", f"at {deed.phase}: {deed.did} (connection {deed.connection})"
    for mail in books.mails.get(job, []):
        kept = "kept" if mail.kept else "thrown away"
        yield mail.heard_at, "SMTP server", f"heard the dot; {kept} (connection {mail.connection})"
        if mail.answered_at is not None:
            yield mail.answered_at, "SMTP server", f"answered {mail.answer}"
    claims = {move.claim for move in books.moves.get(job, []) if move.claim is not None}
    for claim in claims:
        for attempt in books.attempts.get(claim, []):
            said = f"claim {claim} {attempt.outcome} {attempt.kind}: {attempt.detail}"
            yield attempt.at, "history", said
    pids = {hand.pid: hand.worker for hand in books.evidence.hands if hand.worker in _workers(books, claims)}
    for event in books.evidence.events:
        if event.pid in pids or event.pid is None:
            yield event.at, "chaos", f"{event.fault}: {event.target}"


def _workers(books: Books, claims: set[int]) -> set[str]:
    return {books.worker_of[claim] for claim in claims if claim in books.worker_of}
