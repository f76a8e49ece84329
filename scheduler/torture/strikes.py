"""What is to be done to the platform, and when: spread evenly over the time, by the seed."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from random import Random

from scheduler.torture.faults import CHAOS, Fault

SECONDS_BETWEEN = 6.0  # on average, in a run of minutes
LEAST_SECONDS_BETWEEN = 2.0  # in a short one
AWAY_SECONDS = 20.0
BOOT_SECONDS = 5.0  # until a process that was started again does its work
# How often each happens, relative to the others.
WEIGHTS = {
    Fault.KILL_WORKER: 8,
    Fault.KILL_SCHEDULER: 2,
    Fault.KILL_API: 2,
    Fault.PAUSE_WORKER: 2,
    Fault.RESTART_POSTGRES: 2,
    Fault.POSTGRES_AWAY: 1,
    Fault.FLUSH_REDIS: 1,
    Fault.KILL_REDIS: 1,
    Fault.REFUSE: 1,
}


@dataclass(frozen=True)
class Strike:
    """`at` seconds after the beginning; `seconds` until it is undone (started again, resumed)."""

    at: float
    fault: Fault
    number: int = 0  # of the process; 0: it is no process
    seconds: float = 0.0


def plan_strikes(
    chance: Random,
    faults: Set[Fault],
    *,
    seconds: float,
    workers: int,
    schedulers: int,
    apis: int,
    lease_seconds: float,
) -> list[Strike]:
    """Every kind that is on at least once, where there is time for it.

    What is down is not struck again before it is up and at work; two outages of PostgreSQL never overlap, and of the
    schedulers one is always there: two run so that one can die.
    """
    picker = _Picker(chance, seconds, workers, schedulers, apis, lease_seconds)
    kinds = _kinds(chance, faults & CHAOS, seconds)
    slot = seconds / max(1, len(kinds))
    planned = (picker.pick(kind, (n + chance.random()) * slot) for n, kind in enumerate(kinds))
    return sorted((strike for strike in planned if strike), key=lambda strike: strike.at)


def _kinds(chance: Random, chosen: Set[Fault], seconds: float) -> list[Fault]:
    """One of each, and then by weight, as many as the time has room for; shuffled."""
    ordered = [fault for fault in WEIGHTS if fault in chosen]
    if not ordered:
        return []
    chance.shuffle(ordered)
    wanted = min(max(len(ordered), round(seconds / SECONDS_BETWEEN)), int(seconds / LEAST_SECONDS_BETWEEN))
    deck = [fault for fault in ordered for _ in range(WEIGHTS[fault])]
    kinds = ordered[:wanted]
    while len(kinds) < wanted:
        kinds += chance.sample(deck, min(len(deck), wanted - len(kinds)))
    chance.shuffle(kinds)
    return kinds


class _Picker:
    """Chooses target and length, and keeps what is struck free from further strikes until it is at work again."""

    def __init__(
        self, chance: Random, seconds: float, workers: int, schedulers: int, apis: int, lease_seconds: float
    ) -> None:
        self._chance = chance
        self._seconds = seconds
        self._counts = {"worker": workers, "scheduler": schedulers, "api": apis}
        self._lease_seconds = lease_seconds
        self._busy_until: dict[str, float] = {}

    def pick(self, fault: Fault, at: float) -> Strike | None:
        """None when there is no time left for it."""
        role = {Fault.KILL_SCHEDULER: "scheduler", Fault.KILL_API: "api"}.get(fault)
        if fault in (Fault.KILL_WORKER, Fault.PAUSE_WORKER):
            role = "worker"
        number = self._chance.randint(1, self._counts[role]) if role else 0
        target, length, rest = self._target(fault, number), self._length(fault), self._rest(fault)
        at = max(at, self._busy_until.get(target, 0.0))
        if at > self._seconds:
            return None
        self._busy_until[target] = at + length + rest
        return Strike(round(at, 2), fault, number, round(length, 2))

    def _target(self, fault: Fault, number: int) -> str:
        """What may not be struck twice at a time: a worker, the schedulers, the APIs, a server."""
        match fault:
            case Fault.KILL_WORKER | Fault.PAUSE_WORKER:
                return f"worker {number}"
            case Fault.RESTART_POSTGRES | Fault.POSTGRES_AWAY:
                return "postgres"
            case Fault.FLUSH_REDIS | Fault.KILL_REDIS:
                return "redis"
        return fault

    def _length(self, fault: Fault) -> float:
        match fault:
            case Fault.PAUSE_WORKER:
                return self._lease_seconds + self._chance.uniform(1.0, 4.0)
            case Fault.POSTGRES_AWAY:
                return min(AWAY_SECONDS, self._seconds / 4)
            case Fault.REFUSE | Fault.KILL_REDIS:
                return self._chance.uniform(0.5, 3.0)
            case Fault.RESTART_POSTGRES | Fault.FLUSH_REDIS:
                return 0.0
        return self._chance.uniform(0.2, 2.0)

    def _rest(self, fault: Fault) -> float:
        """The other scheduler is struck only when this one has watched the workers for a lease."""
        return BOOT_SECONDS + (self._lease_seconds if fault is Fault.KILL_SCHEDULER else 0.0)
