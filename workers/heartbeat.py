"""The heartbeat: one row per worker and beat. It depends on no other thread, but does not outlive their work:
when the loop, the taker or the recorder hangs, it falls silent, so that the worker's jobs are rescued."""

from __future__ import annotations

import os
import socket
import threading
from uuid import UUID

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from jobs import transitions
from jobs.conf import Tunables
from jobs.states import WorkerState
from workers.pulse import Pulse
from workers.slots import Slots

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


class Heartbeat:
    """Runs in its own thread until stopped; then takes the worker's row with it, if told so."""

    def __init__(self, *, worker: UUID, slots: Slots, pulse: Pulse, conf: Tunables) -> None:
        self._worker = worker
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._slots = slots
        self._pulse = pulse
        self._conf = conf
        self._stopping = threading.Event()
        self._holds_nothing = False
        self.is_draining = False

    def beat(self) -> None:
        """One beat, now. Raises django.db's errors."""
        transitions.beat(
            self._worker,
            name=self._name,
            state=self._state().value,
            in_flight=len(self._slots),
            completed=self._slots.completed,
        )

    def stop(self, *, holds_nothing: bool) -> None:
        """`holds_nothing`: every job was settled or handed back, so the row may go."""
        self._holds_nothing = holds_nothing
        self._stopping.set()

    def run(self) -> None:
        try:
            wait = 0.0
            while not self._stopping.wait(wait):
                wait = self._conf.heartbeat_seconds if self._try_to_beat() else RETRY_SECONDS
            if self._holds_nothing:
                self._leave()
        finally:
            connection.close()

    def _try_to_beat(self) -> bool:
        self._pulse.tick("heartbeat")
        silent = self._pulse.silent(for_seconds=self._conf.lease_seconds / 2)
        if silent:
            log.error("heartbeat_withheld", silent=silent)
            self._pulse.trouble("heartbeat", f"withheld, for others are silent: {', '.join(silent)}")
            return False
        try:
            self.beat()
        except DatabaseError as error:
            log.warning("heartbeat_failed", error=type(error).__name__)
            self._pulse.trouble("heartbeat", f"PostgreSQL: {type(error).__name__}")
            connection.close()
            return False
        self._pulse.progress("heartbeat")
        return True

    def _leave(self) -> None:
        try:
            transitions.leave(self._worker)
        except DatabaseError as error:
            log.warning("leave_failed", error=type(error).__name__)

    def _state(self) -> WorkerState:
        if self.is_draining:
            return WorkerState.UNAVAILABLE
        return WorkerState.BUSY if len(self._slots) else WorkerState.AVAILABLE
