"""Answers that are held back: what was heard and kept by then stays so, the client waits, the others go on."""

from __future__ import annotations

import asyncio
import threading

AFTER_DATA = "354"  # the body has not been sent
AFTER_DOT = "250 2.0.0 Queued"  # the mail is in the book


class Hold:
    """The next answer that opens with these words; `is_reached` once somebody waits for it."""

    def __init__(self, opening: str) -> None:
        self.opening = opening
        self._lock = threading.Lock()
        self._is_reached = self._is_released = False
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_reached(self) -> bool:
        return self._is_reached

    def release(self) -> None:
        """From any thread, at any time, also before it is reached."""
        with self._lock:
            self._is_released = True
            if self._over and self._loop and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._over.set)

    async def over(self) -> None:
        with self._lock:
            self._over, self._loop = asyncio.Event(), asyncio.get_running_loop()
            if self._is_released:
                self._over.set()
            self._is_reached = True
        await self._over.wait()


class Holds:
    """Those that nobody has reached yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Hold] = []

    def add(self, opening: str) -> Hold:
        hold = Hold(opening)
        with self._lock:
            self._waiting.append(hold)
        return hold

    def take(self, answer: str) -> Hold | None:
        with self._lock:
            hold = next((hold for hold in self._waiting if answer.startswith(hold.opening)), None)
            if hold:
                self._waiting.remove(hold)
        return hold
