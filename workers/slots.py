"""How many trips are under way, and which claims this worker knows. Shared by the taker and the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from jobs.claims import Claim
from jobs.states import Lane

CHUNK_PATIENCE_SECONDS = 0.01


class Slots:
    """Claims in hand, by token: up to `capacity` messages and, beside them, up to `tasks` tasks. Thread-safe."""

    def __init__(self, capacity: int, *, tasks: int = 0) -> None:
        self.capacities = {Lane.MESSAGES: capacity, Lane.TASKS: tasks}
        self.completed = 0
        self.claiming = threading.Lock()  # held from a claim until its slot is: a sweep must not find it in between
        self._claims: dict[int, Claim] = {}
        self._by_lane: dict[Lane, set[int]] = {lane: set() for lane in Lane}
        self._on_trial: set[int] = set()
        self._changed = threading.Condition()
        self._is_awake = False

    def __len__(self) -> int:
        return len(self._claims)

    def hold(self, claims: Iterable[Claim], lane: Lane = Lane.MESSAGES) -> None:
        with self._changed:
            new = {claim.token: claim for claim in claims}
            self._claims |= new
            self._by_lane[lane] |= new.keys()

    def free(self, tokens: Iterable[int]) -> None:
        """These trips are over: settled, or not ours any more."""
        with self._changed:
            for token in tokens:
                self._on_trial.discard(token)
                for tokens_of_lane in self._by_lane.values():
                    tokens_of_lane.discard(token)
                if self._claims.pop(token, None) is not None:
                    self.completed += 1
            self._changed.notify_all()

    def tokens(self) -> set[int]:
        with self._changed:
            return set(self._claims)

    def wait_free(self, *, timeout: float, lane: Lane = Lane.MESSAGES) -> int:
        """How many slots of a lane are free, waiting for the first one up to `timeout` seconds.

        A full worker frees its slots one by one; waiting a moment longer for a handful lets one
        statement claim them all.
        """
        capacity, held = self.capacities[lane], self._by_lane[lane]
        handful = max(1, capacity // 4)
        with self._changed:
            self._changed.wait_for(lambda: self._is_awake or len(held) < capacity, timeout)
            self._changed.wait_for(lambda: self._is_awake or capacity - len(held) >= handful, CHUNK_PATIENCE_SECONDS)
            return capacity - len(held)

    # ── Suspects, tried alone (quarantine.py) ─────────────────────────────────────────────────

    def wait_calm(self, waiting: int, *, timeout: float) -> bool:
        """Whether, within `timeout` seconds, nothing is under way but `waiting` claims that have not set out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_awake or len(self._claims) <= waiting, timeout)

    def try_alone(self, token: int) -> None:
        """Its trial begins; it ends with `acquit`, or when the trip is over."""
        with self._changed:
            self._on_trial.add(token)

    def acquit(self, tokens: Iterable[int]) -> None:
        """These were prepared without harm."""
        with self._changed:
            self._on_trial.difference_update(tokens)
            self._changed.notify_all()

    def wait_tried(self, token: int, *, timeout: float) -> bool:
        """Whether its trial has ended within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_awake or token not in self._on_trial, timeout)

    def wake(self) -> None:
        """From now on nobody waits for anything: the end has come."""
        with self._changed:
            self._is_awake = True
            self._changed.notify_all()
