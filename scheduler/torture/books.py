"""The evidence, turned over: by job, by claim, by worker. Looks up, judges nothing."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from scheduler.torture.evidence import (
    Answer,
    Attempt,
    Deed,
    Delivery,
    Event,
    Evidence,
    Mail,
    Move,
    Offer,
    Row,
    Step,
)
from scheduler.torture.faults import Fault

Outage = tuple[float, float]


class Books:
    """Made once from a whole evidence. Jobs are known by their ids, offers by their numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    # ── Jobs ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def rows(self) -> dict[str, Row]:
        return {row.id: row for row in self.evidence.rows}

    @cached_property
    def offers(self) -> dict[int, Offer]:
        return {offer.number: offer for offer in self.evidence.offers}

    @cached_property
    def answers(self) -> dict[str, list[Answer]]:
        answers = defaultdict(list)
        for answer in self.evidence.answers:
            answers[answer.job].append(answer)
        return dict(answers)

    @cached_property
    def jobs(self) -> list[str]:
        """Every job that a client heard of or that has a row, in the order of their ids."""
        return sorted(self.answers.keys() | self.rows.keys())

    @cached_property
    def unheard(self) -> list[str]:
        """Jobs with a row that no client ever heard of."""
        return [job for job in self.jobs if job not in self.answers]

    def offer_of(self, job: str) -> Offer | None:
        """What it was submitted as: by the answer, else by the recipient in its row."""
        if job in self.answers:
            return self.offers.get(self.answers[job][0].number)
        row = self.rows.get(job)
        return self._offer_to.get(row.recipient) if row else None

    @cached_property
    def _offer_to(self) -> dict[str, Offer]:
        return {offer.recipient: offer for offer in reversed(self.evidence.offers)}

    def group_of(self, job: str) -> str:
        """Of the jobs of one group at most one may be sent."""
        offer = self.offer_of(job)
        return offer.group if offer and offer.group else f"only {job}"

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        groups = defaultdict(list)
        for job in self.jobs:
            groups[self.group_of(job)].append(job)
        return dict(groups)

    # ── What happened to them ─────────────────────────────────────────────────────────────────

    @cached_property
    def mails(self) -> dict[str, list[Mail]]:
        mails = defaultdict(list)
        for mail in self.evidence.mails:
            mails[mail.job].append(mail)
        return dict(mails)

    def kept(self, job: str) -> list[Mail]:
        """The copies of it that the SMTP server has."""
        return [mail for mail in self.mails.get(job, []) if mail.kept]

    @cached_property
    def deeds(self) -> dict[str, list[Deed]]:
        """By recipient."""
        deeds = defaultdict(list)
        for deed in self.evidence.deeds:
            deeds[deed.recipient].append(deed)
        return dict(deeds)

    def deeds_to(self, job: str) -> list[Deed]:
        offer = self.offer_of(job)
        return self.deeds.get(offer.recipient, []) if offer else []

    @cached_property
    def moves(self) -> dict[str, list[Move]]:
        moves = defaultdict(list)
        for move in self.evidence.moves:
            moves[move.job].append(move)
        return dict(moves)

    @cached_property
    def steps(self) -> dict[str, list[Step]]:
        steps = defaultdict(list)
        for step in self.evidence.steps:
            steps[step.job].append(step)
        return dict(steps)

    @cached_property
    def marks(self) -> dict[int, Step]:
        """Of every claim the last dot mark that was committed under it: each provider that was tried has one."""
        return {step.claim: step for step in self.evidence.steps if step.new == "dot" and step.claim is not None}

    def marks_of(self, job: str) -> list[Step]:
        return [step for step in self.steps.get(job, []) if step.new == "dot"]

    @cached_property
    def attempts(self) -> dict[int, list[Attempt]]:
        """By claim."""
        attempts = defaultdict(list)
        for attempt in self.evidence.attempts:
            attempts[attempt.claim].append(attempt)
        return dict(attempts)

    @cached_property
    def unknown_deliveries(self) -> dict[str, Delivery]:
        """By job."""
        return {d.job: d for d in self.evidence.deliveries if d.state == "unknown"}

    @cached_property
    def decided(self) -> dict[str, list[str]]:
        """The resolutions that somebody chose, by job. A late reply is an answer, no decision."""
        decided = defaultdict(list)
        for decision in self.evidence.decisions:
            if decision.resolution not in ("late_reply", "evidence"):
                decided[decision.job].append(decision.resolution)
        return dict(decided)

    # ── Who did it ────────────────────────────────────────────────────────────────────────────

    @cached_property
    def worker_of(self) -> dict[int, str]:
        """By claim."""
        return {
            move.claim: move.worker
            for move in self.evidence.moves
            if move.new == "running" and move.claim is not None and move.worker is not None
        }

    @cached_property
    def claimed_at(self) -> dict[int, float]:
        return {move.claim: move.at for move in self.evidence.moves if move.new == "running" and move.claim is not None}

    @cached_property
    def killings(self) -> list[Event]:
        """Of workers, by SIGKILL."""
        return [event for event in self.evidence.events if event.fault == Fault.KILL_WORKER]

    def killing_of(self, worker: str | None) -> Event | None:
        """When and how this worker was killed; None: it lived until it was told to end."""
        return self._killings.get(worker) if worker else None

    @cached_property
    def _killings(self) -> dict[str, Event]:
        """By worker: the process with that number that was the last to show up before the kill."""
        found = {}
        for event in self.killings:
            hands = [hand for hand in self.evidence.hands if hand.pid == event.pid and hand.at <= event.at]
            if hands:
                found[max(hands, key=lambda hand: hand.at).worker] = event
        return found

    def outages(self, *faults: Fault) -> list[Outage]:
        """When what these faults strike was away: from the strike until it answered again."""
        wanted = set(faults)
        return [(e.at, e.over_at) for e in self.evidence.events if e.fault in wanted and e.over_at is not None]
