"""The taker: one thread that waits on Redis, claims and gates in batches, and hands over what may be sent.

Without Redis it asks PostgreSQL, slower, and comes back to Redis by itself. It also sweeps: running jobs that
PostgreSQL says are ours and that we do not know (a claim whose answer was lost) are given back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from jobs import destinations, queue, rescues, transitions
from jobs.claims import Claim
from jobs.conf import Tunables
from jobs.database import is_away
from jobs.states import Lane
from workers import gate, quarantine
from workers.adoption import Heir
from workers.pulse import Pulse
from workers.recorder import Recorder
from workers.routes import Routes
from workers.slots import Slots

log = structlog.get_logger(__name__)

LISTEN_SECONDS = 1.0  # how long one BLMPOP waits; also how soon a stop is noticed
SHORTEST_LISTEN_SECONDS = 0.01  # 0 would be for ever
POLL_SECONDS = 0.25  # between looks into PostgreSQL while Redis is away, or has just been
RETRY_SECONDS = 0.5  # before Redis is tried again
RETURN_SECONDS = 1.5  # from then on: Redis may be back, and who does not know it yet rings for nobody
GATHER_SECONDS = 0.02  # after a small take: what comes meanwhile is claimed together, for the price of one …
BRISK_JOBS, BRISK_SECONDS = 32, 0.25  # … when jobs come as fast as this; else each is taken up at once
SMALL_TAKE = 8  # jobs; a larger one has gathered already, and one that fills all slots has to wait anyway
LARGEST_SHARE = 0.5  # of all slots, in one take; other workers wait for the same bell
REST_SECONDS = 0.5  # after PostgreSQL said nothing
SWEEP_SECONDS = 5.0
TAKERS = {Lane.MESSAGES: "taker", Lane.TASKS: "tasks_taker"}
LONGEST_SILENCE_SECONDS = 5.0  # of the bell, before PostgreSQL is asked whether it should have rung


class Taker:
    """Runs in its own thread until stopped. Each lane has one; that of messages sweeps for both."""

    def __init__(
        self,
        *,
        worker: UUID,
        priorities: Sequence[str],
        slots: Slots,
        recorder: Recorder,
        routes: Routes,
        hand_over: Callable[[list[Claim]], None],
        pulse: Pulse,
        conf: Tunables,
        journals: Path,
        lane: Lane = Lane.MESSAGES,
    ) -> None:
        self._worker = worker
        self._priorities = priorities
        self._slots = slots
        self._recorder = recorder
        self._routes = routes
        self._hand_over = hand_over
        self._pulse = pulse
        self._conf = conf
        self._lane = lane
        self.name = TAKERS[lane]
        self._heir = Heir(journals, tick=partial(pulse.tick, self.name))
        self._largest_take = max(1, round(slots.capacities[lane] * LARGEST_SHARE))
        self._stopping = threading.Event()
        self._sweep_at = 0.0
        self._gathers_until = 0.0
        self._taken_at: deque[float] = deque(maxlen=BRISK_JOBS)
        self._redis_back_at = 0.0
        self._ask_at = time.monotonic() + LONGEST_SILENCE_SECONDS

    def stop(self) -> None:
        self._stopping.set()
        self._slots.wake()

    def run(self) -> None:
        try:
            with structlog.contextvars.bound_contextvars(worker_id=str(self._worker)):
                while not self._stopping.is_set():
                    self._pulse.tick(self.name)
                    self._step()
        finally:
            self._pulse.forget(self.name)  # a drain goes on without it, and so must the heartbeat
            connection.close()

    def _step(self) -> None:
        try:
            if self._lane is Lane.MESSAGES and time.monotonic() >= self._sweep_at:
                self._sweep()
            self._stopping.wait(self._gathers_until - time.monotonic())
            free = self._slots.wait_free(timeout=LISTEN_SECONDS, lane=self._lane)
            if free > 0 and not self._stopping.is_set():
                self._take(min(free, self._largest_take))
            elif self._lane is Lane.TASKS:
                self._pulse.progress(self.name)  # all hands are full, and each has a limit of time
        except DatabaseError as error:
            log.warning("postgres_away", error=type(error).__name__, exc_info=not is_away(error))
            self._pulse.trouble(self.name, f"PostgreSQL: {type(error).__name__}")
            connection.close()
            self._sweep_at = 0.0  # an answer may have been lost: look for our own unknown claims (trace 6)
            self._ask_at = 0.0  # and ids that rang in vain: ask for what waits, and do not wait for the reconciler
            self._stopping.wait(REST_SECONDS)

    def _take(self, free: int) -> None:
        claims = self._claim_by_bell(free) if self._hears_the_bell() else self._claim_by_asking(free)
        if claims:
            if self._is_brisk(len(claims)) and len(claims) < min(free, SMALL_TAKE):
                self._gathers_until = time.monotonic() + GATHER_SECONDS
            self._let_in(claims)
        else:
            self._routes.refresh()  # else an idle worker would tell for hours that a circuit is open

    def _is_brisk(self, taken: int) -> bool:
        now = time.monotonic()
        self._taken_at.extend([now] * taken)
        return len(self._taken_at) == BRISK_JOBS and now - self._taken_at[0] < BRISK_SECONDS

    def _hears_the_bell(self) -> bool:
        """Not while Redis is away, nor after a long silence: a Redis that takes no more pushes (out of memory,
        read-only) answers with silence, not with an error."""
        return self._redis_back_at <= time.monotonic() < self._ask_at

    def _trusts_redis(self) -> bool:
        return time.monotonic() >= self._redis_back_at + RETURN_SECONDS

    def _claim_by_bell(self, free: int) -> list[Claim]:
        listen_seconds = min(LISTEN_SECONDS, max(self._ask_at - time.monotonic(), SHORTEST_LISTEN_SECONDS))
        try:
            waiting = queue.take(self._priorities, limit=free, timeout_seconds=listen_seconds, lane=self._lane)
        except queue.Away as error:
            log.warning("redis_away", error=type(error).__name__)
            self._redis_back_at = time.monotonic() + RETRY_SECONDS
            return []
        self._pulse.progress(self.name)
        if self._stopping.is_set():
            queue.push(waiting)  # somebody else's now
            return []
        if not waiting:
            return []
        if self._trusts_redis():
            self._ask_at = time.monotonic() + LONGEST_SILENCE_SECONDS
        return self._held(lambda: transitions.claim([w.job_id for w in waiting], worker=self._worker))

    def _claim_by_asking(self, free: int) -> list[Claim]:
        self._ask_at = time.monotonic() + (LONGEST_SILENCE_SECONDS if self._trusts_redis() else POLL_SECONDS)
        claims = self._held(
            lambda: transitions.claim_waiting(self._priorities, limit=free, worker=self._worker, lane=self._lane)
        )
        self._pulse.progress(self.name)
        if not claims and time.monotonic() < self._redis_back_at:
            self._stopping.wait(POLL_SECONDS)
        return claims

    def _held(self, claim: Callable[[], list[Claim]]) -> list[Claim]:
        """What this claims has its slots before anybody sweeps."""
        with self._slots.claiming:
            claims = claim()
            self._slots.hold(claims, self._lane)
        return claims

    def _let_in(self, claims: list[Claim]) -> None:
        """Suspects one by one, then the others; who has not come through the gate when the way closes goes back."""
        ahead = {claim.token: claim for claim in claims}
        try:
            for batch in quarantine.batches(claims, self._slots, partial(self._pulse.tick, self.name)):
                if self._stopping.is_set():
                    break
                self._admit(batch)
                for claim in batch:
                    del ahead[claim.token]
        finally:
            self._recorder.put_back(ahead.values(), wait_seconds=self._conf.put_back_seconds)

    def _admit(self, claims: list[Claim]) -> None:
        admitted = destinations.addressed(gate.admit(claims))
        tokens = {claim.token for claim in admitted}
        self._slots.free(claim.token for claim in claims if claim.token not in tokens)
        waits = self._routes.waits(admitted)
        for claim in admitted:
            if claim.token in waits:
                self._recorder.put_back([claim], wait_seconds=waits[claim.token])
        self._hand_over([claim for claim in admitted if claim.token not in waits])

    def _sweep(self) -> None:
        """Give back what PostgreSQL says is ours and we do not know, and settle what dead workers had been answered."""
        self._heir.adopt()
        with self._slots.claiming:  # nobody adds to them; they are asked first, so what ends meanwhile is no surprise
            known = self._slots.tokens()
            unknown = rescues.own_running(self._worker) - known
        if unknown:
            rescue = rescues.sweep(self._worker, unknown)
            queue.push(rescue.waiting)
            log.warning("own_claims_swept", queued=len(rescue.waiting), unknown=rescue.unknown)
        self._sweep_at = time.monotonic() + SWEEP_SECONDS
        self._pulse.progress(self.name)
