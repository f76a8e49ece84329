"""Everything that chance decides, decided beforehand by the seed: the jobs, what the SMTP server does to each, and what
is done to the platform, when. The same seed gives the same plan; how processes interleave under it is their own.

Each part has a stream of random numbers of its own, so that switching one fault off leaves the rest as it was.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from random import Random
from typing import Any

from scheduler.torture.fates import Fate, plan_fate
from scheduler.torture.faults import Fault
from scheduler.torture.strikes import Strike, plan_strikes

DOMAIN = "torture.example"
CLIENTS_AT_ONCE = 8


@dataclass(frozen=True)
class PlannedJob:
    """One job that clients will submit `at` seconds after the beginning."""

    number: int
    at: float
    path: str
    body: dict[str, Any]
    recipient: str  # by which the SMTP server knows the job; the sender's address, too, where the body names one
    group: str  # see evidence.Offer
    key: str | None = None
    clients: int = 1  # that submit it at once
    again_after: float | None = None  # seconds after which it is submitted once more, under its key


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float  # for how long jobs come in and things happen
    jobs: list[PlannedJob]
    fates: dict[str, Fate]  # by recipient
    strikes: list[Strike]

    @property
    def texts(self) -> dict[str, str]:
        """What each recipient is to read; welcomes are written by Sendonce."""
        return {job.recipient: job.body["payload"]["text"] for job in self.jobs if "payload" in job.body}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a run is asked for."""

    jobs: int = 2000
    minutes: float = 3.0
    workers: int = 3
    schedulers: int = 2
    apis: int = 2
    seed: int = 1
    faults: Set[Fault] = frozenset(Fault)
    lease_seconds: float = 5.0


def make_plan(wish: Wish) -> Plan:
    seconds = wish.minutes * 60
    jobs = _JobMaker(Random(f"{wish.seed}/jobs"), seconds, Fault.SAME_KEY in wish.faults).make(wish.jobs)
    chance = Random(f"{wish.seed}/fates")
    fates = {job.recipient: plan_fate(chance, wish.faults) for job in jobs}
    strikes = plan_strikes(
        Random(f"{wish.seed}/strikes"),
        wish.faults,
        seconds=seconds,
        workers=wish.workers,
        schedulers=wish.schedulers,
        apis=wish.apis,
        lease_seconds=wish.lease_seconds,
    )
    return Plan(wish.seed, seconds, jobs, fates, strikes)


class _JobMaker:
    """Jobs of every shape that the API takes, spread evenly over the time."""

    def __init__(self, chance: Random, seconds: float, at_once: bool) -> None:
        self._chance = chance
        self._seconds = seconds
        self._at_once = at_once
        self._shared = ""  # the dedupe key under way …
        self._sharers = 0  # … and how many jobs are still to share it
        self._welcomed: list[tuple[str, str]] = []

    def make(self, count: int) -> list[PlannedJob]:
        times = sorted(self._chance.uniform(0, self._seconds) for _ in range(count))
        return [self._job(number, at) for number, at in enumerate(times, 1)]

    def _job(self, number: int, at: float) -> PlannedJob:
        shape = self._chance.random()
        if shape < 0.03:
            return self._without_key(number, at)
        if shape < 0.12:
            return self._welcome(number, at)
        if shape < 0.20:
            return self._sharing(number, at)
        return self._plain(number, at)

    def _plain(self, number: int, at: float) -> PlannedJob:
        return self._keyed(number, at, self._email(number), group=f"job {number}")

    def _sharing(self, number: int, at: float) -> PlannedJob:
        """One of a few jobs with a dedupe key in common; each has an idempotency key of its own."""
        if not self._sharers:
            self._shared, self._sharers = f"shared-{number}", self._chance.randint(2, 4)
        self._sharers -= 1
        body = self._email(number) | {"dedupe_key": self._shared}
        return self._keyed(number, at, body, group=self._shared)

    def _without_key(self, number: int, at: float) -> PlannedJob:
        """A client that repeats such a request makes a new job, and may: each is to be sent once."""
        return PlannedJob(number, at, "/jobs", self._email(number), _address(number), group="")

    def _welcome(self, number: int, at: float) -> PlannedJob:
        """`{"email", "name"}` is its own dedupe key; some greet somebody who was greeted before."""
        if self._welcomed and self._chance.random() < 0.3:
            address, name = self._chance.choice(self._welcomed)
        else:
            address, name = _address(number), f"Person {number}"
            self._welcomed.append((address, name))
        return PlannedJob(number, at, "/addJob", {"email": address, "name": name}, address, group=f"welcome {address}")

    def _keyed(self, number: int, at: float, body: dict[str, Any], *, group: str) -> PlannedJob:
        dice = self._chance.random()
        again_after = self._chance.uniform(0.5, 20.0) if self._chance.random() < 0.05 else None
        return PlannedJob(
            number,
            at,
            self._chance.choice(["/jobs", "/addJob"]),
            body,
            _address(number),
            group=group,
            key=f"key-{number}",
            clients=CLIENTS_AT_ONCE if dice < 0.05 and self._at_once else 1,
            again_after=again_after,
        )

    def _email(self, number: int) -> dict[str, Any]:
        address = _address(number)
        payload = {"from": address, "to": address, "subject": f"Number {number}", "text": self._text(number)}
        body: dict[str, Any] = {"type": "email", "payload": payload}
        if self._chance.random() < 0.3:
            body["priority"] = self._chance.choice(["high", "low"])
        if self._chance.random() < 0.15:
            body["delay_seconds"] = round(self._chance.uniform(0.2, 8.0), 2)
        return body

    def _text(self, number: int) -> str:
        """Mostly a few lines; now and then more than fits into one write. Some lines begin with a dot."""
        lines = 3000 if self._chance.random() < 0.02 else self._chance.randint(1, 20)
        return f"This is mail {number}.\n" + ".a line that looks like the end\n" * lines


def _address(number: int) -> str:
    return f"j{number:06d}@{DOMAIN}"
