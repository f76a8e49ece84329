"""FaultySmtp that can hold one answer back: what it has heard and kept by then stays so, the client waits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from tests.workers.smtp_servers import FaultySmtp

AFTER_DATA = "354"  # the body has not been sent
AFTER_DOT = "250 2.0.0 Queued"  # the mail is in the book


class Hold:
    """The next answer that opens with these words; `reached` once somebody waits for it."""

    def __init__(self, opening: str) -> None:
        self.opening = opening.encode()
        self._reached = threading.Event()
        self._released = threading.Event()

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()

    def release(self) -> None:
        self._released.set()

    async def wait(self) -> None:
        self._reached.set()
        while not self._released.is_set():
            await asyncio.sleep(0.005)


class HoldingSmtp(FaultySmtp):
    """Holds answers of single conversations; the other ones go on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._holds: list[Hold] = []

    def hold(self, opening: str) -> Hold:
        hold = Hold(opening)
        self._holds.append(hold)
        return hold

    def hold_for(self, answer: bytes) -> Hold | None:
        hold = next((hold for hold in self._holds if answer.startswith(hold.opening)), None)
        if hold:
            self._holds.remove(hold)
        return hold

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super()._welcome(reader, cast(asyncio.StreamWriter, _HoldingWriter(self, writer)))


class _HoldingWriter:
    """Stands before a StreamWriter and sits on what is held."""

    def __init__(self, server: HoldingSmtp, writer: asyncio.StreamWriter) -> None:
        self._server, self._writer = server, writer
        self._held: tuple[Hold, bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, data: bytes) -> None:
        hold = self._server.hold_for(data)
        if hold:
            self._held = (hold, data)
        else:
            self._writer.write(data)

    async def drain(self) -> None:
        if self._held:
            (hold, data), self._held = self._held, None
            await hold.wait()
            self._writer.write(data)
        await self._writer.drain()
