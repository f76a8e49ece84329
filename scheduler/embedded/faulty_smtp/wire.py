"""Speaking and hearing on one connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Coroutine

from .acts import Act, Answer, Delay
from .holds import Holds


class End(Exception):
    """The connection is over."""


class Wire:
    """Lines in, answers out; `input` is what was heard and not yet read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holds: Holds) -> None:
        self.reader, self.writer, self.holds = reader, writer, holds
        self.input = bytearray()
        self.heard_at = 0.0  # time.monotonic() of the newest bytes

    @property
    def is_encrypted(self) -> bool:
        return self.writer.get_extra_info("ssl_object") is not None

    async def encrypt(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context)

    async def line(self) -> str:
        while (end := self.input.find(b"\r\n")) < 0:
            await self.more()
        line = self.input[:end].decode("utf-8", "replace")
        del self.input[: end + 2]
        return line

    async def more(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise End
        self.heard_at = time.monotonic()
        self.input += data

    async def say(self, answer: Answer, hand: Callable[[bytes], None] | None = None) -> None:
        """`hand` is called in place of the socket's write, when it has come to that."""
        if isinstance(answer, Delay):
            await self.hear_until(asyncio.sleep(answer.seconds))
            if answer.answer is not None:
                await self.say(answer.answer, hand)
        elif isinstance(answer, Act):
            await self.act(answer)
        elif isinstance(answer, bytes):
            await self._write(answer, hand)
            await self.act(Act.DROP)
        else:
            if hold := self.holds.take(answer):
                await self.hear_until(hold.over())
            await self._write(answer.encode("utf-8", "surrogateescape") + b"\r\n", hand)

    async def _write(self, data: bytes, hand: Callable[[bytes], None] | None) -> None:
        (hand or self.writer.write)(data)
        await self.writer.drain()

    async def hear_until(self, over: Coroutine[None, None, object]) -> None:
        """Wait, and notice at once when the client leaves; what it says meanwhile is read later."""
        waiting = asyncio.ensure_future(over)
        hearing = asyncio.ensure_future(self._hear())
        try:
            await asyncio.wait({waiting, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        finally:
            for task in (waiting, hearing):
                task.cancel()
            await asyncio.gather(waiting, hearing, return_exceptions=True)

    async def _hear(self) -> None:
        """Until the client leaves."""
        while True:
            await self.more()

    async def act(self, act: Act) -> None:
        if act is Act.STALL:
            await self._hear()
        if act is Act.DEAF:
            await asyncio.Event().wait()
        if act is Act.RESET:
            no_linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            self.writer.transport.abort()
        with contextlib.suppress(OSError):
            self.writer.close()
            await self.writer.wait_closed()
        raise End


def path(line: str) -> str:
    """The address between the brackets of MAIL or RCPT."""
    return line.partition("<")[2].partition(">")[0]
