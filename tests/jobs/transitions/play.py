"""What everybody in the protocol does, step by step: clients, workers, servers, the clock and people.

A worker does here what workers/taker.py, delivery.py and recorder.py do, cut wherever somebody else may come between.
Where it asks PostgreSQL, the answer may be lost although the move was made; or the move is never made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg

from jobs import chores, inquiries, omissions, rescues, resolutions, suppressions, transitions
from jobs.errors import TooLate
from jobs.inquiries import Answer as ProviderAnswer
from jobs.inquiries import Inquiry
from jobs.models import Suppression
from jobs.resolutions import OVERRIDABLE
from jobs.settlements import Settlement
from jobs.states import Decision, OnUnknown, Outcome, Resolution, SuppressionReason
from scheduler.loops.waker import DECISIONS
from tests.jobs.transitions.builders import LEASE, a_job, ago, an_owner, beat, hash_of, set_job, sql
from tests.jobs.transitions.observer import Observer
from tests.jobs.transitions.promise import check_promise
from tests.jobs.transitions.world import Dot, Fate, Job, Step, Trip, Worker, World
from workers.recorder import MIDWAY, Acquittal, Group, Mark, PutBack, Request

LEASE_SECONDS = 3600.0  # who is silent here is so by his row, on the slowest machine too
LIMIT = 100
PROVIDER = "main"
# Not TRUNCATE, which makes new files: for a few rows that takes ten times as long.
EMPTY_TABLES = "".join(
    f"DELETE FROM jobs_{table};" for table in ("attempt", "deadletter", "delivery", "job", "suppression", "worker")
)


class Answer(Enum):
    """What becomes of a question to PostgreSQL."""

    HEARD = "heard"
    LOST = "lost"  # the commit arrived, its answer did not
    NEVER = "never asked"  # the commit did not arrive either


class Ending(Enum):
    """How a trip can end before its mark."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    INVALID = "invalid"
    PUT_BACK = "put back"


class Reply(Enum):
    """What a server makes of a message, and what it says if its worker still listens."""

    YES = "2xx"
    LATER = "4xx"
    NO = "5xx"
    YES_UNHEARD = "accepted, no reply"
    NO_UNHEARD = "thrown away, no reply"

    @property
    def fate(self) -> Fate:
        return Fate.ACCEPTED if self in {Reply.YES, Reply.YES_UNHEARD} else Fate.REFUSED

    @property
    def outcome(self) -> Outcome | None:
        return {Reply.YES: Outcome.SENT, Reply.LATER: Outcome.TRANSIENT, Reply.NO: Outcome.PERMANENT}.get(self)


@dataclass(frozen=True)
class Letter:
    """A dead letter, as somebody saw it on a page."""

    id: int = field(repr=False)
    job: Job
    reason: str
    resolution: str | None

    @property
    def is_open(self) -> bool:
        return self.resolution is None


class Play:
    """One run, from empty tables on."""

    def __init__(self, eyes: psycopg.Connection[Any]) -> None:
        sql(EMPTY_TABLES)
        self.owner_id = an_owner().pk
        self.world = World()
        self.observer = Observer(eyes, check=lambda books: check_promise(self.world, books))

    @contextmanager
    def _move(self, name: str, *, jobs: Collection[Job] = (), claims: Collection[Any] = ()) -> Iterator[None]:
        with self.observer.watch(name, jobs={job.id for job in jobs}, tokens={claim.token for claim in claims}):
            yield

    # ── What is known ─────────────────────────────────────────────────────────────────────────

    def jobs_where(self, condition: Callable[[Any], bool]) -> list[Job]:
        return [job for job in self.world.jobs if condition(self.row(job))]

    def jobs_in(self, *statuses: str) -> list[Job]:
        return self.jobs_where(lambda row: row.status in statuses)

    def held_jobs(self) -> list[Job]:
        return self.jobs_where(lambda row: row.held_behind is not None)

    def jobs_of_the_silent(self) -> list[Job]:
        silent = {worker.id for worker in self.world.workers if not worker.is_beating}
        return self.jobs_where(lambda row: row.status == "running" and row.worker in silent)

    def row(self, job: Job) -> Any:
        return self.observer.books.jobs[job.id]

    def state_of_key(self, job: Job) -> str | None:
        delivery = self.observer.books.delivery_of(self.row(job))
        return delivery and delivery.state

    def holds(self, trip: Trip) -> bool:
        """Whether the delivery of its key is that of this claim."""
        delivery = self.observer.books.delivery_of(self.row(trip.job))
        return delivery is not None and delivery.claim == trip.claim.token

    def open_keys(self, count: int) -> list[str]:
        """The first so many of which nothing was sent yet, or dropped."""
        states = {delivery.dedupe_hash: delivery.state for delivery in self.observer.books.deliveries.values()}
        keys = (f"k{number}" for number in itertools.count())
        return list(itertools.islice((k for k in keys if states.get(hash_of(k)) not in {"sent", "dropped"}), count))

    @property
    def letters(self) -> list[Letter]:
        rows = sorted(self.observer.books.letters.values(), key=lambda row: (row.job_id, row.claim))
        return [Letter(row.id, self.world.job(row.job_id), row.reason, row.resolution) for row in rows]

    def rest(self) -> None:
        """There is nothing left to do."""

    # ── Clients ───────────────────────────────────────────────────────────────────────────────

    def accept(
        self,
        key: str | None,
        max_attempts: int = 2,
        on_unknown: OnUnknown = OnUnknown.HOLD,
        delay_seconds: float | None = None,
    ) -> None:
        number = len(self.world.jobs)
        job = Job(number, UUID(int=number), key or f"of job {number} alone")
        self.world.jobs.append(job)
        with self._move("accept", jobs=[job]):
            a_job(
                id=job.id,
                key=key,
                dedupe_hash=hash_of(job.key),
                owner_id=self.owner_id,
                max_attempts=max_attempts,
                on_unknown=on_unknown.value,
                delay_seconds=delay_seconds,
                recipients=job.recipients,
            )

    def expire(self, job: Job) -> None:
        """Its time comes. Whether it ends thereby is for the next claim to say."""
        with self._move("expire", jobs=[job]):
            set_job(job.id, expires_at=ago(1))

    def cancel(self, job: Job) -> None:
        row = self.row(job)
        may = not row.in_doubt and (row.status in {"scheduled", "queued"} or row.held_behind is not None)
        with self._move("cancel", jobs=[job]):
            self._expect(may, lambda: transitions.cancel(job.id, owner_id=self.owner_id))

    # ── Readers, and the list of those who want no more ───────────────────────────────────────

    def suppress(self, job: Job, how_many: int) -> None:
        suppressions.add(self.owner_id, job.recipients[:how_many], reason=SuppressionReason.UNSUBSCRIBE)

    def lift(self, job: Job) -> None:
        for address in self.listed(job):
            suppressions.remove(self.owner_id, address)

    def listed(self, job: Job) -> list[str]:
        """Its recipients that are on the list."""
        return sorted(Suppression.objects.filter(address__in=job.recipients).values_list("address", flat=True))

    # ── Workers: the taker ────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        number = len(self.world.workers)
        self.world.workers.append(Worker(number, UUID(int=number)))

    def claim(self, worker: Worker, jobs: Sequence[Job], answer: Answer) -> None:
        if answer is Answer.NEVER:
            return
        with self._move("claim", jobs=jobs):
            claims = transitions.claim([job.id for job in jobs], worker=worker.id)
            if answer is Answer.HEARD:
                for claim in sorted(claims, key=lambda claim: claim.token):
                    job = self.world.job(claim.job_id)
                    self.world.trips.append(Trip(len(self.world.trips), job, worker, claim, claim.is_suspect))

    def gate(self, trips: Sequence[Trip], answer: Answer, said_sent: Collection[Trip] = ()) -> None:
        """`said_sent`: those of whose key L1 says so. It may be wrong, as Redis always may (I2)."""
        claims = [trip.claim for trip in trips]
        steps: dict[int, Step] = {}
        if answer is not Answer.NEVER:
            with self._move("gate", claims=claims):
                lies = {trip.claim.token for trip in said_sent}
                standing = transitions.pass_gate(claims, said_sent=lies, wait_seconds=1.0)
            steps = dict.fromkeys(standing.admitted, Step.ADMITTED) | dict.fromkeys(standing.suppressed, Step.LISTED)
            for trip in trips:
                let_in, listed = trip.claim.token in standing.admitted, self.listed(trip.job)
                assert not (let_in and listed), f"{trip} was let in, and {listed} are on the list"
        for trip in trips:
            if answer is Answer.HEARD:
                trip.step = steps.get(trip.claim.token, Step.OVER)
            else:
                self._put_back(trip)

    def leave_out(self, trips: Sequence[Trip], answer: Answer) -> None:
        """Of those that the gate would not let in alone, whoever is on the list by now."""
        let_in: dict[int, Any] = {}
        if answer is not Answer.NEVER:
            with self._move("leave out", claims=[trip.claim for trip in trips]):
                found = omissions.leave_out([trip.claim for trip in trips], wait_seconds=1.0)
            let_in = {claim.token: claim for claim in found.admitted}
        for trip in trips:
            if answer is not Answer.HEARD:
                self._put_back(trip)
            elif claim := let_in.get(trip.claim.token):
                assert sorted(claim.suppressed) == self.listed(trip.job) != trip.job.recipients
                trip.step, trip.claim = Step.ADMITTED, claim
            else:
                trip.step = Step.OVER

    def turn_back(self, trip: Trip) -> None:
        """Its worker stops before it comes through the gate."""
        self._put_back(trip)

    def look(self, worker: Worker) -> None:
        """A sweep begins: which claims are mine, says PostgreSQL, that I do not know?"""
        worker.unheard = rescues.own_running(worker.id) - self._known_to(worker)

    def sweep(self, worker: Worker) -> None:
        tokens, worker.unheard = worker.unheard or set(), None
        with self._move("sweep", jobs=self.jobs_where(lambda row: row.worker == worker.id and row.claim in tokens)):
            rescues.sweep(worker.id, tokens)

    def is_unaware(self, worker: Worker) -> bool:
        """Whether some job runs in its name that it does not know."""
        mine = [row for row in self.observer.books.jobs.values() if row.status == "running" and row.worker == worker.id]
        return bool({row.claim for row in mine} - self._known_to(worker))

    def _known_to(self, worker: Worker) -> set[int]:
        return {trip.claim.token for trip in self.world.trips if trip.worker is worker and trip.is_under_way}

    # ── Workers: a trip ───────────────────────────────────────────────────────────────────────

    def end_before_the_mark(self, trip: Trip, ending: Ending) -> None:
        if ending is Ending.PUT_BACK:
            self._put_back(trip)
        else:
            self._settle(trip, Outcome(ending.value), marked=False)

    def ask_for_the_mark(self, trip: Trip) -> None:
        """A suspect asks for its acquittal first."""
        self._request(trip, Acquittal(trip.claim) if trip.is_suspect else Mark(trip.claim, PROVIDER))

    def write_the_dot(self, trip: Trip) -> None:
        trip.step = Step.SENDING
        trip.dots.append(Dot(trip))

    def stop_before_the_dot(self, trip: Trip, is_certain: bool) -> None:
        """The line broke (it is certain that no dot was written), or the worker must leave (it is not)."""
        if is_certain:
            self._put_back(trip, unmark=True)
        else:
            self._settle(trip, Outcome.UNKNOWN)

    def give_up(self, trip: Trip) -> None:
        """No reply came to the dot, which may still be under way."""
        self._settle(trip, Outcome.UNKNOWN)

    def _settle(self, trip: Trip, outcome: Outcome, *, marked: bool = True) -> None:
        self._request(trip, Settlement(trip.claim, outcome, trip.worker.id, marked=marked, wait_seconds=1.0))

    def _put_back(self, trip: Trip, *, unmark: bool = False) -> None:
        self._request(trip, PutBack(trip.claim, wait_seconds=1.0, unmark=unmark))

    def _request(self, trip: Trip, request: Request) -> None:
        trip.step = Step.RECORDING
        trip.worker.requests.append((request, trip))

    # ── Servers ───────────────────────────────────────────────────────────────────────────────

    def reply(self, dot: Dot, reply: Reply) -> None:
        dot.fate = reply.fate
        if reply.outcome and self._is_awaited(dot):
            self._settle(dot.trip, reply.outcome)

    def refuse_for_now(self, dot: Dot, answer: Answer) -> None:
        """A 4xx that makes the worker try its next provider: it takes the mark back first (trace 12)."""
        dot.fate = Fate.REFUSED
        trip, taken = dot.trip, set[int]()
        if not self._is_awaited(dot):
            return
        if answer is not Answer.NEVER:
            with self._move("take the mark back", claims=[trip.claim]):
                taken = transitions.take_mark_back([trip.claim])
        if answer is Answer.HEARD and trip.claim.token in taken:
            trip.step = Step.ADMITTED
        else:
            self._settle(trip, Outcome.TRANSIENT)

    @staticmethod
    def _is_awaited(dot: Dot) -> bool:
        return dot.trip.is_under_way and dot.trip.step is Step.SENDING and dot is dot.trip.dots[-1]

    # ── Workers: the recorder ─────────────────────────────────────────────────────────────────

    def record(self, worker: Worker, count: int, answer: Answer) -> None:
        """Commit the first requests in one transaction. Without an answer marks fail; all else is written again."""
        entries = worker.requests[:count]
        if answer is not Answer.NEVER:
            with self._move("record", claims=[request.claim for request, _ in entries]):
                group = Group(entries)  # type: ignore[arg-type]
                group.commit()
                for request, trip in entries:
                    trip.was_marked |= isinstance(request, Mark) and request.claim.token in group.still_ours
                if answer is Answer.HEARD:
                    del worker.requests[:count]
                    for request, trip in entries:
                        self._hear(trip, request, is_ours=request.claim.token in group.still_ours)
        if answer is not Answer.HEARD:
            for request, trip in entries:
                self._hear_nothing(trip, request)

    def _hear(self, trip: Trip, request: Request, *, is_ours: bool) -> None:
        if not isinstance(request, MIDWAY):
            trip.step = Step.OVER
        elif not is_ours:
            self._put_back(trip)
        elif isinstance(request, Mark):
            trip.step = Step.MARKED
        else:
            trip.step, trip.is_suspect = Step.ADMITTED, False

    def _hear_nothing(self, trip: Trip, request: Request) -> None:
        if isinstance(request, Mark):
            trip.worker.requests.remove((request, trip))
            self._put_back(trip, unmark=True)

    def forget(self, trip: Trip) -> None:
        """PostgreSQL will not take the row (trace 15): the trip is over, and nothing of it is written."""
        trip.worker.requests = [entry for entry in trip.worker.requests if entry[1] is not trip]
        trip.step = Step.OVER

    @staticmethod
    def is_ending(trip: Trip) -> bool:
        """Whether the last request of it lies with the recorder."""
        return any(whose is trip and not isinstance(request, MIDWAY) for request, whose in trip.worker.requests)

    # ── Workers: life and death ───────────────────────────────────────────────────────────────

    def kill(self, worker: Worker) -> None:
        worker.is_alive = False

    def beat(self, worker: Worker) -> None:
        beat(worker.id)
        worker.is_beating = True

    def fall_silent(self, worker: Worker) -> None:
        """For longer than a lease; dead, or only slow."""
        sql("UPDATE jobs_worker SET beat_at = %s WHERE id = %s", ago(2 * LEASE_SECONDS), worker.id)
        worker.is_beating = False

    # ── The clock ─────────────────────────────────────────────────────────────────────────────

    def rescue(self, limit: int = LIMIT) -> None:
        with self._move("rescue", jobs=self.jobs_of_the_silent()):
            how = LEASE | {"lease_seconds": LEASE_SECONDS, "limit": limit}
            rescues.rescue([worker.id for worker in self.world.workers], **how)  # type: ignore[arg-type]

    def promote(self) -> None:
        """Time passes until all that is scheduled is due."""
        with self._move("promote", jobs=self.jobs_in("scheduled")):
            sql("UPDATE jobs_job SET run_at = %s WHERE status = 'scheduled'", ago(1))
            chores.promote(limit=LIMIT)

    def wake(self) -> None:
        with self._move("wake", jobs=self.held_jobs()):
            chores.wake_held(limit=LIMIT)

    def apply_policies(self) -> None:
        due = dict(chores.policy_due(patience_seconds=0.0, limit=LIMIT))
        for letter in [letter for letter in self.letters if letter.id in due]:
            self._decide(letter, DECISIONS[OnUnknown(due[letter.id])], by=None, new_budget=False)

    def ask_providers(self) -> None:
        """They answer as well as they can: that a message was not accepted is certain only once its dot cannot be
        written any more, which the inquirer takes from the age of the mark."""
        with self._move("ask", jobs=self.jobs_in("unknown")):
            due = inquiries.claim_due(PROVIDER, waits=[0.0] * LIMIT, patience_seconds=0.0, limit=LIMIT)
        for inquiry in sorted(due, key=lambda inquiry: inquiry.claim.token):
            trip = self.world.trip(inquiry.claim.token)
            assert trip, "asked about a claim of which nobody knew"
            accepted = True if trip.was_accepted else None if trip.messages else False
            self.world.answers.append((inquiry, ProviderAnswer("book", accepted, "as it is")))

    def conclude(self, answer: tuple[Inquiry, ProviderAnswer]) -> None:
        """Perhaps long after the question."""
        self.world.answers.remove(answer)
        inquiry, said = answer
        with self._move("evidence", claims=[inquiry.claim]):
            inquiries.conclude(inquiry, said, wait_seconds=1.0)

    # ── People ────────────────────────────────────────────────────────────────────────────────

    def decide(self, letter: Letter, decision: Decision) -> None:
        """Perhaps on a page that was opened long ago (trace 16)."""
        self._decide(letter, decision, by=self.owner_id, new_budget=True)

    def _decide(self, letter: Letter, decision: Decision, **how: Any) -> None:
        may = letter.is_open and letter.reason == "unknown"
        with self._move("decide", jobs=[letter.job]):
            self._expect(may, lambda: resolutions.resolve(letter.id, decision, **how))

    def requeue(self, letter: Letter, is_override: bool) -> None:
        may = (
            letter.is_open
            and letter.reason not in {"unknown", "dropped"}
            and self.state_of_key(letter.job) in {None, "released", *(["sent"] if is_override else [])}
            and not self.row(letter.job).expires
        )
        with self._move("decide", jobs=[letter.job]):
            how = {"by": self.owner_id, "note": "It never arrived.", "override": is_override}
            self._expect(may, lambda: resolutions.requeue(letter.id, **how))

    def discard(self, letter: Letter) -> None:
        may = letter.is_open and letter.reason != "unknown"
        with self._move("decide", jobs=[letter.job]):
            self._expect(may, lambda: resolutions.discard(letter.id, by=self.owner_id))

    def decide_all(self, resolution: Resolution, is_override: bool) -> None:
        """A redrive, or any other decision in bulk: it takes what it can."""
        letters = self.letters
        with self._move("decide", jobs=[letter.job for letter in letters]):
            overrides = OVERRIDABLE if is_override else ()
            ids = [letter.id for letter in letters]
            resolutions.decide(ids, resolution, by=self.owner_id, note="All of them.", overrides=overrides)

    @staticmethod
    def _expect(may: bool, act: Callable[[], object]) -> None:
        try:
            act()
        except TooLate:
            is_done = False
        else:
            is_done = True
        assert is_done == may, "done, although it was too late" if is_done else "refused, although it was not too late"
