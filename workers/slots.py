"""How many trips are under way, and which claims this worker knows. Shared by the taker and the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from jobs.claims import Claim

CHUNK_PATIENCE_SECONDS = 0.01


class Slots:
    """Claims in hand, by token, up to `capacity`. Thread-safe."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.completed = 0
        self._claims: dict[int, Claim] = {}
        self._on_trial: set[int] = set()
        self._changed = threading.Condition()
        self._is_awake = False

    def __len__(self) -> int:
        return len(self._claims)

    def hold(self, claims: Iterable[Claim]) -> None:
        with self._changed:
            self._claims.update((claim.token, claim) for claim in claims)

    def free(self, tokens: Iterable[int]) -> None:
        """These trips are over: settled, or not ours any more."""
        with self._changed:
            for token in tokens:
                self._on_trial.discard(token)
                if self._claims.pop(token, None) is not None:
                    self.completed += 1
            self._changed.notify_all()

    def tokens(self) -> set[int]:
        with self._changed:
            return set(self._claims)

    def wait_free(self, *, timeout: float) -> int:
        """How many slots are free, waiting for the first one up to `timeout` seconds.

        A full worker frees its slots one by one; waiting a moment longer for a handful lets one
        statement claim them all.
        """
        handful = max(1, self.capacity // 4)
        with self._changed:
            self._changed.wait_for(lambda: self._is_awake or len(self._claims) < self.capacity, timeout)
            self._changed.wait_for(
                lambda: self._is_awake or self.capacity - len(self._claims) >= handful, CHUNK_PATIENCE_SECONDS
            )
            return self.capacity - len(self._claims)

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
