"""One TCP connection to an SMTP server: bytes go out, whole replies come in. No SMTP is spoken here.

Our own protocol instead of asyncio's streams, for three things a stream does not tell: whether
anything arrived that nobody asked for, whether the other side has already gone, and both of them
while a long body is still on its way out.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Final, cast

from jobs.conf import Tunables
from workers.smtp_replies import Reply, ReplyParser

TLS_SHUTDOWN_SECONDS: Final = 2.0  # asyncio's default of 30 s would hold a worker's drain


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for TCP (and TLS at once), for each reply and each piece of body, for the dot's answer."""

    connect: float
    command: float
    dot: float

    @classmethod
    def of(cls, tunables: Tunables) -> Timeouts:
        return cls(tunables.connect_timeout_seconds, tunables.command_timeout_seconds, tunables.dot_timeout_seconds)


class Lost(Exception):
    """The connection is gone."""


class Wire(asyncio.Protocol):
    """Made by `connect`; ends by `close` or `abort`. One task at a time may wait on it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._replies = ReplyParser()
        self._ended: str | None = None
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._writing_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0  # of whoever waits
        self._alarm: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, host: str, port: int, *, tls: ssl.SSLContext | None) -> Wire:
        """Raises OSError (with ssl.SSLError and socket.gaierror among them)."""
        options: dict[str, Any] = {"ssl_shutdown_timeout": TLS_SHUTDOWN_SECONDS} if tls else {}
        _, wire = await asyncio.get_running_loop().create_connection(
            cls, host, port, ssl=tls, happy_eyeballs_delay=0.25, **options
        )
        return wire

    # ── What the event loop tells us ──────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._adopt(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        if self._replies.is_garbled:
            self.abort()
        self._wake()

    def eof_received(self) -> None:
        self._ended = self._ended or "The server closed the connection."
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self._ended or f"The connection was lost: {exc or 'closed'}."
        if not self._gone.done():
            self._gone.set_result(None)
        self._wake()
        if self._alarm is not None:
            self._alarm.cancel()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    # ── What we know ──────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        return self._ended is None and self._transport is not None and not self._transport.is_closing()

    @property
    def has_input(self) -> bool:
        """Something arrived that was not read, be it half a line."""
        return self._replies.has_input

    @property
    def is_encrypted(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    @property
    def peer(self) -> str:
        """The address at the other end; empty when it is gone."""
        return self._address("peername")

    @property
    def own_address(self) -> str:
        return self._address("sockname")

    # ── What we do ────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes | memoryview) -> None:
        """Hand bytes to the transport. Raises Lost instead of writing into the void."""
        if self._transport is None or not self.is_open:
            raise Lost(self._ended or "The connection is closed.")
        self._transport.write(data)

    async def flushed(self, timeout: float) -> None:
        """Wait until what was written has left us, or the server said something, or is gone.

        Raises TimeoutError when the server takes nothing for so long.
        """
        deadline = self._loop.time() + timeout
        while self._writing_paused and self._ended is None and not self.has_input:
            await self._news(deadline)

    async def reply(self, timeout: float) -> Reply:
        """The next reply. Raises TimeoutError, Lost and Garbled."""
        deadline = self._loop.time() + timeout
        try:
            while (reply := self._replies.take()) is None:
                if self._ended is not None:
                    raise Lost(self._ended)
                await self._news(deadline)
        except TimeoutError:
            if (reply := await self._last_look()) is None:
                raise
        return reply

    async def _last_look(self) -> Reply | None:
        """A process that was stopped (SIGSTOP, a suspended machine) wakes with its timers due and its sockets unread:
        what it takes for silence may have been answered long ago."""
        await asyncio.sleep(0)  # the loop looks at the socket …
        await asyncio.sleep(0)  # … and hands over what it found
        return self._replies.take()

    def reply_already_here(self) -> Reply | None:
        """A reply that came without being asked for, if it is whole. Raises Garbled."""
        return self._replies.take()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt from here on. The caller has seen that no input is waiting. Raises OSError and Lost."""
        if self._transport is None or not self.is_open:
            raise Lost(self._ended or "The connection is closed.")
        transport = await asyncio.get_running_loop().start_tls(
            self._transport, self, context, server_hostname=host, ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS
        )
        if transport is None:
            raise Lost("The connection was closed during the TLS handshake.")
        self._adopt(transport)

    def abort(self) -> None:
        """Drop the connection now. What is still in our buffers is discarded, never sent."""
        self._ended = self._ended or "The connection was given up."
        if self._transport is not None and not self._gone.done():
            self._transport.abort()

    async def close(self, timeout: float) -> None:
        """Close, and wait for it; drop what does not close in time."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
        done, _ = await asyncio.wait([self._gone], timeout=timeout)
        if not done:
            self.abort()

    def _adopt(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # No bytes of grace: `flushed` means that the kernel has them (under TLS: that they are encrypted
        # and on their way), not that 64 KB wait in here. Not zero: asyncio's TLS pauses at "size >= high",
        # and with a high of zero it would pause on an empty buffer that nothing ever empties.
        transport.set_write_buffer_limits(high=1, low=0)

    def _address(self, name: str) -> str:
        address = self._transport.get_extra_info(name) if self._transport is not None else None
        return str(address[0]) if address else ""

    async def _news(self, deadline: float) -> None:
        """Something has changed. Raises TimeoutError at the deadline.

        The alarm outlives the wait and is set anew only when it has rung: one for thousands of replies that come in
        time, each of which asyncio.timeout would have made and cancelled."""
        self._waiter, self._deadline = self._loop.create_future(), deadline
        if self._alarm is None or self._alarm.when() > deadline:
            self._set_alarm()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._set_alarm()
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
