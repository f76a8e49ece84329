"""Does to the platform what the plan says, at its time, and writes down what was done when.

Each strike has a thread of its own, so that an outage of 20 s holds up nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from scheduler.torture.evidence import Event
from scheduler.torture.faults import Fault
from scheduler.torture.platform import Platform, Process, Role
from scheduler.torture.provider import Provider
from scheduler.torture.strikes import Strike


class Chaos:
    """`start()`; `is_over` once everything was done and undone; `stop()` to leave early."""

    def __init__(
        self,
        platform: Platform,
        provider: Provider,
        strikes: Sequence[Strike],
        *,
        now: Callable[[], float] = time.time,
        told: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.events: list[Event] = []
        self.errors: list[BaseException] = []
        self._platform = platform
        self._provider = provider
        self._strikes = strikes
        self._now = now
        self._told = told
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._play, args=[strike, began], name=strike.fault, daemon=True)
            for strike in self._strikes
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """What is down stays down; what has not begun does not begin."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _play(self, strike: Strike, began: float) -> None:
        if self._stopping.wait(max(0.0, began + strike.at - time.monotonic())):
            return
        try:
            self._strike(strike)
        except BaseException as error:
            self.errors.append(error)

    def _strike(self, strike: Strike) -> None:
        match strike.fault:
            case Fault.KILL_WORKER:
                self._kill(strike, self._platform.process(Role.WORKER, strike.number))
            case Fault.KILL_SCHEDULER:
                self._kill(strike, self._platform.process(Role.SCHEDULER, strike.number))
            case Fault.KILL_API:
                self._kill(strike, self._platform.process(Role.API, strike.number))
            case Fault.PAUSE_WORKER:
                self._pause(strike, self._platform.process(Role.WORKER, strike.number))
            case Fault.FLUSH_REDIS:
                self._over(self._note(strike, "Valkey"), self._platform.redis.flush)
            case Fault.KILL_REDIS:
                self._outage(strike, "Valkey", self._platform.redis.kill, self._platform.redis.start)
            case Fault.RESTART_POSTGRES | Fault.POSTGRES_AWAY:
                postgres = self._platform.postgres
                self._outage(strike, "PostgreSQL", postgres.stop_at_once, postgres.start)
            case Fault.REFUSE:
                self._outage(strike, "SMTP server", self._provider.stop, self._provider.start)

    def _kill(self, strike: Strike, process: Process) -> None:
        self._outage(strike, str(process), process.kill, process.start, pid=process.pid)

    def _pause(self, strike: Strike, process: Process) -> None:
        self._outage(strike, str(process), process.pause, process.resume, pid=process.pid)

    def _outage(
        self, strike: Strike, target: str, down: Callable[[], None], up: Callable[[], None], pid: int | None = None
    ) -> None:
        event = self._note(strike, target, pid)
        down()
        if not self._stopping.wait(strike.seconds):
            self._over(event, up)

    def _note(self, strike: Strike, target: str, pid: int | None = None) -> Event:
        event = Event(strike.fault, target, self._now(), pid)
        self.events.append(event)
        self._told(event)
        return event

    def _over(self, event: Event, undo: Callable[[], None]) -> None:
        undo()
        event.over_at = self._now()
        self._told(event)
