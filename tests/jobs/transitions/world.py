"""What is really so, of which PostgreSQL only hears: what workers remember, and what servers were given.

Everybody is as slow as they like. A worker that was declared dead and lives on (a zombie) is nothing special: it goes
on with what it remembers. A dot on the wire may be accepted at any later time, even when its worker is dead. Names are
short and the same in every run, since a falsifying example is told in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from jobs.claims import Claim
from jobs.inquiries import Answer, Inquiry
from workers.recorder import Request


class Step(Enum):
    """Where a trip stands, as far as its worker knows."""

    CLAIMED = "claimed"
    LISTED = "listed"  # not let in by the gate alone: recipients of it are on the suppression list
    ADMITTED = "admitted"  # through the gate: it prepares, connects and offers
    RECORDING = "recording"  # a request of it lies with the recorder
    MARKED = "marked"  # the mark's answer came: now, or at any later time, the dot may be written
    SENDING = "sending"  # the dot is written
    OVER = "over"


class Fate(Enum):
    """What a server did with a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # or thrown away


@dataclass(eq=False)
class Job:
    number: int
    id: UUID
    key: str  # jobs of one key are one message

    @property
    def recipients(self) -> list[str]:
        return [f"{name}{self.number}@example.org" for name in ("ann", "bob")]

    def __repr__(self) -> str:
        return f"J{self.number}"


@dataclass(eq=False)
class Worker:
    """One process; its id is new with every one."""

    number: int
    id: UUID
    is_alive: bool = True
    is_beating: bool = False  # the heartbeat in its row is fresh
    unheard: set[int] | None = None  # tokens that a sweep under way found to be its own and unknown to it
    requests: list[tuple[Request, Trip]] = field(default_factory=list)  # with its recorder, in order

    def __repr__(self) -> str:
        return f"W{self.number}"


@dataclass(eq=False)
class Trip:
    """One claim, in the memory of the worker that was told of it."""

    number: int
    job: Job
    worker: Worker
    claim: Claim
    is_suspect: bool  # its job may have killed a worker, and asks for its acquittal first
    step: Step = Step.CLAIMED
    was_marked: bool = False  # the mark was committed, whether or not its answer came
    dots: list[Dot] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"T{self.number}({self.job}, {self.worker})"

    @property
    def is_under_way(self) -> bool:
        return self.worker.is_alive and self.step is not Step.OVER

    @property
    def was_accepted(self) -> bool:
        return any(dot.fate is Fate.ACCEPTED for dot in self.dots)

    @property
    def messages(self) -> int:
        """How many messages of this trip were, or may still be, accepted."""
        is_about_to_write = self.is_under_way and self.step is Step.MARKED
        return is_about_to_write + sum(dot.fate is not Fate.REFUSED for dot in self.dots)


@dataclass(eq=False)
class Dot:
    """The end of a message, written. Its fate is the server's to decide, whenever it likes."""

    trip: Trip
    fate: Fate | None = None

    def __repr__(self) -> str:
        return f"dot of {self.trip}"


class World:
    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.workers: list[Worker] = []
        self.trips: list[Trip] = []
        self.answers: list[tuple[Inquiry, Answer]] = []  # of providers that were asked, not yet concluded from

    def job(self, job_id: UUID) -> Job:
        return next(job for job in self.jobs if job.id == job_id)

    def trip(self, token: int) -> Trip | None:
        """None: no worker was ever told of this claim."""
        return next((trip for trip in self.trips if trip.claim.token == token), None)

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_alive]

    def trips_at(self, *steps: Step) -> list[Trip]:
        return [trip for trip in self.trips if trip.is_under_way and trip.step in steps]

    def trips_of(self, job: Job) -> list[Trip]:
        return [trip for trip in self.trips if trip.job is job]

    def undecided_dots(self) -> list[Dot]:
        return [dot for trip in self.trips for dot in trip.dots if dot.fate is None]

    def messages(self, job: Job) -> int:
        """How many messages of this job were, or may still be, accepted."""
        return sum(trip.messages for trip in self.trips_of(job))

    def was_accepted(self, job: Job) -> bool:
        return any(trip.was_accepted for trip in self.trips_of(job))
