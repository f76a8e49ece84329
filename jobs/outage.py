"""A server that hangs: one thread of this process asks it again and again, and everybody else does without it.

One that refuses costs nothing to ask, so whoever needs it asks for himself. One that says nothing costs each asker a
whole time-out; so the first vain wait begins an outage, during which nobody waits any more, and the answer to a fresh
question ends it for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)

SLOW_SECONDS = 1.0  # an error that took longer was not told by a server, but by a time-out
PAUSE_SECONDS = 0.1  # between one question's time-out (2 s) and the next question
TRUSTED_SECONDS = 1.0  # after an answer, before a mere suspicion has it asked again


class Outage:
    """Whether one server hangs, as this process knows it. For all threads.

    `ask` speaks to the server over a connection of its own. It returns or raises what the server says, and raises
    after about 2 s when it says nothing. A refusal is an answer, too: it shows that asking costs nothing.
    """

    def __init__(self, server: str, ask: Callable[[], object]) -> None:
        self.is_on = False
        self._server = server
        self._ask = ask
        self._lock = threading.Lock()
        self._is_asking = False
        self._answered_at = float("-inf")

    @contextmanager
    def watch(self) -> Iterator[None]:
        """An error of this block that was long in coming begins an outage."""
        started = time.monotonic()
        try:
            yield
        except Exception:
            if time.monotonic() - started >= SLOW_SECONDS:
                self.begin()
            raise

    def begin(self) -> None:
        """Somebody has waited in vain."""
        self._tell_it_hangs()
        self._have_it_asked()

    def suspect(self) -> None:
        """Somebody has been waiting for long: have the server asked whether it answers at all."""
        if time.monotonic() - self._answered_at >= TRUSTED_SECONDS:
            self._have_it_asked()

    def _tell_it_hangs(self) -> None:
        if not self.is_on:
            log.warning("server_hangs", server=self._server)
        self.is_on = True

    def _have_it_asked(self) -> None:
        with self._lock:
            if self._is_asking:
                return
            self._is_asking = True
        asking = threading.Thread(target=self._ask_until_it_answers, name=f"outage-{self._server}", daemon=True)
        try:
            asking.start()
        except RuntimeError:  # no more threads: nobody asks, so nobody may be told that it hangs
            with self._lock:
                self.is_on = self._is_asking = False

    def _ask_until_it_answers(self) -> None:
        while not self._answers():
            self._tell_it_hangs()
            time.sleep(PAUSE_SECONDS)
        with self._lock:
            was_on = self.is_on
            self._answered_at = time.monotonic()
            self.is_on = self._is_asking = False
        if was_on:
            log.info("server_answers", server=self._server)

    def _answers(self) -> bool:
        started = time.monotonic()
        try:
            self._ask()
        except Exception:
            return time.monotonic() - started < SLOW_SECONDS
        return True
