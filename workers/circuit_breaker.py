"""The circuit breaker: whoever does not work is left alone for a while, by all workers together.

A route that failed in 60 % of its calls, of three at least in 30 s, is open for CIRCUIT_OPEN_SECONDS: nobody goes by
it, and no job spends an attempt on it. Then one job tries; if that works, the circuit is closed, else it is open for as
long again. (M. Nygard, Release It!, chapter 5.)

Failed is what speaks of the other side's state: it cannot be reached, does not answer, hangs up, or says itself that it
is out of order. That it refuses a message is a sign of life.

How a circuit stands is in Redis (jobs/throttles.py). A worker process counts for itself, and asks once a second, when
it has taken jobs; a failure is told at once. On the road of a message that goes well, that costs one look into a dict.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from jobs import throttles
from jobs.errors import DeliveryError, Postponed, Transient
from jobs.metrics import CIRCUIT_OPEN, CIRCUITS_OPENED
from jobs.throttles import TRIAL_SECONDS, Circuit, Counts
from workers.channels.base import Route

log = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 1.0
REMEMBERED_SECONDS: Final = 60.0  # since somebody last went that way
RETURNS_PER_SECOND: Final = 500.0  # of jobs that were turned away by one worker: not all in the moment it opens again …
LONGEST_SPREAD_SECONDS: Final = 30.0  # … but before long
DOWN: Final = frozenset(
    {
        *("dns", "connect", "unreachable", "tls", "timeout", "time_limit", "unanswered", "http_5xx"),
        *("esp_setup", "esp_closed", "esp_protocol", "esp_5xx"),
        *("smtp_closed", "smtp_closing", "smtp_closed_before_dot", "smtp_protocol", "smtp_greeting", "smtp_auth"),
    }
)
# Nobody was called, or we stopped: it says nothing of the other side.
NOBODYS: Final = frozenset(
    {"cancelled", "interrupted", "no_process", "handler_died", "esp_unsupported", "address_refused", "service_unknown"}
)


class Circuits:
    """What one worker process knows of all circuits. `refresh` is called from the takers' threads, all else from the
    loop."""

    def __init__(self, always: Iterable[str] = ()) -> None:
        """`always`: the keys of routes that are asked about before anybody has gone that way."""
        self._always = frozenset(always)
        self._calls: dict[str, Counts] = {}  # by the route's key, since they were reported
        self._used_at: dict[str, float] = {}
        self._open_until: dict[str, float] = {}  # monotonic; when it is over, somebody may try
        self._on_trial: set[str] = set()  # by one of our jobs
        self._turned_away: Counter[str] = Counter()  # since it opened
        self._lock = threading.Lock()
        self._refresh_at = 0.0

    def refresh(self) -> None:
        """Have our calls counted, and hear how all circuits stand that we use; if a second has passed since."""
        now = time.monotonic()
        with self._lock:
            if now < self._refresh_at:
                return
            self._refresh_at = now + REFRESH_SECONDS
            calls, self._calls = self._calls, {}
            self._used_at = {key: at for key, at in self._used_at.items() if at > now - REMEMBERED_SECONDS}
            self._used_at |= dict.fromkeys(calls, now)
            keys = {*self._always, *self._used_at, *self._open_until} - self._on_trial
        self._learn(throttles.report({key: calls.get(key, Counts()) for key in keys}))

    def is_open(self, key: str) -> bool:
        """As far as we know; from any thread."""
        return self._open_until.get(key, 0.0) > time.monotonic()

    # ── Before a call ─────────────────────────────────────────────────────────────────────────

    async def lets_through(self, route: Route) -> bool:
        """Whether a call may be made now. An open circuit whose time is over lets one through, of all workers'."""
        until = self._open_until.get(route.key)
        if until is None:
            return True
        if until > time.monotonic():
            return False
        circuit = await asyncio.to_thread(throttles.may_try, route.key)
        if circuit.open_seconds == 0:
            self._on_trial.add(route.key)
            self._open_until[route.key] = time.monotonic() + TRIAL_SECONDS  # for all others
            log.info("circuit_tried", route=route.key)
            return True
        self._learn({route.key: circuit})
        return circuit.open_seconds is None

    def given_up(self, route: Route) -> None:
        """Nobody was called after all, or nobody knows how it went: a trial is left to whoever comes next."""
        self._on_trial.discard(route.key)

    def postponed(self, route: Route, because: str | None = None) -> Postponed:
        """For a job that this circuit keeps waiting."""
        left = max(self._open_until.get(route.key, 0.0) - time.monotonic(), 0.0)
        self._turned_away[route.key] += 1
        spread = min(self._turned_away[route.key] / RETURNS_PER_SECOND, LONGEST_SPREAD_SECONDS)
        return Postponed(because, kind="circuit_open", wait_seconds=left + random.random() * max(spread, 1.0))

    # ── After it ──────────────────────────────────────────────────────────────────────────────

    def worked(self, route: Route) -> None:
        """It answered."""
        if not route.may_fail:
            return
        self._count(route, Counts(ok=1))
        if route.key in self._open_until:
            asyncio.get_running_loop().run_in_executor(None, self._close, route.key)

    async def failed(self, route: Route, error: DeliveryError, *, marked: bool) -> DeliveryError:
        """What the call's error means for the job: Postponed instead of it, if it has been found out meanwhile that the
        route does not work, and nothing was marked."""
        if not route.may_fail:
            return error
        if error.kind in NOBODYS:
            self.given_up(route)
        elif error.kind not in DOWN:
            self.worked(route)
        elif marked or not isinstance(error, Transient):
            self.given_up(route)
            self._count(route, Counts(bad=1))  # for the next report: an answer must not wait to be written down
        elif await self._was_open(route):
            return self.postponed(route, error.detail)
        return error

    async def _was_open(self, route: Route) -> bool:
        """Before this failure, which is told at once."""
        if route.key in self._on_trial:
            self._on_trial.discard(route.key)
        elif self.is_open(route.key):
            return True
        with self._lock:
            before = self._calls.pop(route.key, Counts())
        said = await asyncio.to_thread(throttles.report, {route.key: Counts(before.ok, before.bad + 1)})
        self._learn(said)
        circuit = said.get(route.key, Circuit(None))
        return circuit.open_seconds is not None and not circuit.has_just_opened

    def _count(self, route: Route, calls: Counts) -> None:
        with self._lock:
            before = self._calls.get(route.key, Counts())
            self._calls[route.key] = Counts(before.ok + calls.ok, before.bad + calls.bad)

    def _close(self, key: str) -> None:
        if throttles.close(key):
            log.info("circuit_closed", route=key)
            self._forget(key)
        self._on_trial.discard(key)

    # ── What Redis says ───────────────────────────────────────────────────────────────────────

    def _learn(self, said: Mapping[str, Circuit]) -> None:
        for key, circuit in said.items():
            if circuit.open_seconds is None:
                self._forget(key)
                continue
            self._open_until[key] = time.monotonic() + circuit.open_seconds
            if circuit.has_just_opened:
                log.warning("circuit_opened", route=key)
                CIRCUITS_OPENED.labels(channel=_channel(key)).inc()
            _show(key, is_open=True)

    def _forget(self, key: str) -> None:
        if self._open_until.pop(key, None) is not None:
            self._turned_away.pop(key, None)
            self._on_trial.discard(key)  # of a trial that came to no end, and that another's has answered
            _show(key, is_open=False)


def _channel(key: str) -> str:
    return key.partition(":")[0]


def _show(key: str, *, is_open: bool) -> None:
    """Only of the installation's own providers: hosts are as many as its users want."""
    channel, _, name = key.partition(":")
    if channel == "email":
        CIRCUIT_OPEN.labels(provider=name).set(int(is_open))
