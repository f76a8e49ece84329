"""A made-up run: books as they would stand if everything had gone well, for tests that then write a sin into them."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.torture.evidence import (
    Answer,
    Attempt,
    Audit,
    Beat,
    Deed,
    Delivery,
    Event,
    Evidence,
    Hand,
    Mail,
    Move,
    Offer,
    Row,
    Run,
    Step,
)

PERIODS = {"LEASE_SECONDS": "5", "DOT_TIMEOUT_SECONDS": "8", "RETRY_CAP_SECONDS": "1"}


class MadeUpRun:
    """Each method is one thing that happens, a second after the last one unless it says when."""

    def __init__(self) -> None:
        run = Run(seed=1, jobs=0, minutes=1.0, workers=1, schedulers=2, faults="all", periods=PERIODS)
        self.evidence = Evidence(run=run, audit=Audit(holds=True, words="all ok"), began_at=1000.0)
        self.now = 1000.0
        self._claims = 0

    def tick(self, at: float | None) -> float:
        self.now = self.now + 1.0 if at is None else at
        return self.now

    # ── What happens ──────────────────────────────────────────────────────────────────────────

    def accept(self, job: str, *, group: str | None = None, key: str | None = "", at: float | None = None) -> None:
        """A client is told of it; `job` serves as its id, its key and, with @, its address."""
        number = len(self.evidence.offers) + 1
        key = f"key {job}" if key == "" else key
        self.evidence.offers.append(Offer(number, f"{job}@x", job if group is None else group, key))
        self.evidence.answers.append(Answer(number, job, self.tick(at)))
        self.evidence.rows.append(Row(job, "queued", f"{job}@x", key))
        self.evidence.moves.append(Move(job, "", "queued", self.now))

    def worker(self, worker: str, *, pid: int, at: float | None = None) -> None:
        self.evidence.hands.append(Hand(worker, pid, self.tick(at)))
        self.beat(worker, at=self.now)

    def beat(self, worker: str, *, at: float | None = None) -> None:
        self.evidence.beats.append(Beat(worker, self.tick(at)))

    def claim(self, job: str, *, worker: str = "w", at: float | None = None) -> int:
        self._claims += 1
        self.move(job, "running", claim=self._claims, worker=worker, at=at)
        self._step(job, "claimed", self._claims)
        return self._claims

    def mark(self, job: str, claim: int, *, at: float | None = None) -> None:
        self.tick(at)
        self._step(job, "dot", claim)

    def dot(self, job: str, *, kept: bool = True, answer: str | None = "250 OK", at: float | None = None) -> None:
        """Heard; answered half a second later."""
        heard_at = self.tick(at)
        answered_at = None if answer is None else heard_at + 0.5
        self.evidence.mails.append(
            Mail(job, self.row(job).recipient, kept, heard_at, answer, answered_at, connection=1)
        )

    def deed(self, job: str, phase: str, did: str, *, at: float | None = None) -> None:
        self.evidence.deeds.append(Deed(f"{job}@x", phase, did, self.tick(at), connection=1))

    def settle(self, job: str, status: str, state: str, claim: int, outcome: str = "", **row: Any) -> None:
        """The worker's last word, or the rescuer's."""
        self.move(job, status, claim=claim, **row)
        self._step(job, state, claim)
        if outcome:
            self.evidence.attempts.append(Attempt(job, claim, outcome, self.now))

    def move(
        self, job: str, status: str, *, claim: int | None = None, worker: str | None = None, at: float | None = None,
        **row: Any,
    ) -> None:  # fmt: skip
        now, old = self.tick(at), self.row(job)
        self.evidence.moves.append(Move(job, old.status, status, now, claim, worker))
        self.change(job, status=status, claim=claim, **row)

    def _step(self, job: str, state: str, claim: int) -> None:
        old = next((d for d in self.evidence.deliveries if d.job == job), None)
        if old is not None:
            self.evidence.deliveries.remove(old)
        self.evidence.deliveries.append(Delivery(job, state, claim))
        self.evidence.steps.append(Step(job, old.state if old else "", state, self.now, claim))

    def event(self, fault: str, target: str, *, at: float, seconds: float = 1.0, pid: int | None = None) -> None:
        self.evidence.events.append(Event(fault, target, at, pid, at + seconds))

    # ── Whole trips ───────────────────────────────────────────────────────────────────────────

    def send(self, job: str, **accepted: Any) -> int:
        """From acceptance to completion."""
        self.accept(job, **accepted)
        return self.carry_out(job)

    def carry_out(self, job: str) -> int:
        claim = self.claim(job)
        self.mark(job, claim)
        self.dot(job)
        self.settle(job, "completed", "sent", claim, "sent")
        return claim

    def refuse(self, job: str, words: str = "550 5.1.1 No such user") -> None:
        """A dead letter for a reason."""
        self.accept(job)
        claim = self.claim(job)
        self.deed(job, "rcpt", words)
        self.settle(job, "failed", "released", claim, "permanent", error="smtp_5xx")

    def leave_unanswered(self, job: str, *, kept: bool = True) -> int:
        """An unknown as it should be: marked, and the server never said a word."""
        self.accept(job)
        claim = self.claim(job)
        self.mark(job, claim)
        self.dot(job, kept=kept, answer=None)
        self.deed(job, "dot", "keep and drop")
        self.settle(job, "unknown", "unknown", claim, "unknown")
        return claim

    # ── Where a sin is written in ─────────────────────────────────────────────────────────────

    def row(self, job: str) -> Row:
        return next(row for row in self.evidence.rows if row.id == job)

    def change(self, job: str, **changes: Any) -> None:
        """The row says something else in the end."""
        index = self.evidence.rows.index(self.row(job))
        self.evidence.rows[index] = msgspec.structs.replace(self.evidence.rows[index], **changes)


def good_run() -> MadeUpRun:
    """One job of each ending that is right: sent, suppressed beside it, dead, unknown, held beside that."""
    run = MadeUpRun()
    run.worker("w", pid=7)
    run.send("sent", group="pair")
    run.accept("twin", group="pair")
    claim = run.claim("twin")
    run.evidence.steps.pop(), run.evidence.deliveries.pop()  # the gate let it in nowhere
    run.move("twin", "completed", claim=claim, duplicate_of="sent")
    run.refuse("dead")
    run.leave_unanswered("unknown")
    run.accept("held", group="unknown")
    run.move("held", "unknown", held_behind="unknown")
    return run
