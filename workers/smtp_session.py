"""A session with an SMTP server: from connecting to QUIT, commands out and replies in, and what stage it is in."""

from __future__ import annotations

import asyncio
import ssl
from enum import Enum
from typing import Final, Self

from workers import smtp_failures as failures
from workers.providers import Endpoint
from workers.smtp_failures import BROKEN
from workers.smtp_hello import Capabilities, shake_hands
from workers.smtp_replies import Reply, verdict
from workers.smtp_wire import Timeouts, Wire

FAREWELL_SECONDS: Final = 2.0


class Stage(Enum):
    IDLE = "between two messages"
    AHEAD = "the envelope of the next message is out"
    ENVELOPE = "from MAIL to DATA"
    BODY = "the server reads a message and waits for its dot"
    OFFERED = "everything but the dot is out"
    OVER = "nothing more will be said"


class Session:
    """What is said over it is for the conversation (smtp.py)."""

    def __init__(self, wire: Wire, endpoint: Endpoint, capabilities: Capabilities, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self.capabilities = capabilities
        self._wire = wire
        self._timeouts = timeouts
        self._stage = Stage.IDLE
        self._owed = 0  # replies to commands that were written

    @classmethod
    async def open(cls, endpoint: Endpoint, timeouts: Timeouts, *, tls: ssl.SSLContext | None = None) -> Self:
        """Connect, greet, encrypt, authenticate. `tls` saves building the endpoint's context again.

        Raises Transient only, of kind dns, connect, timeout, tls, smtp_auth or smtp_*.
        """
        tls = tls or endpoint.tls_context()
        try:
            async with asyncio.timeout(timeouts.connect):
                wire = await Wire.connect(endpoint.host, endpoint.port, tls=tls if endpoint.security == "tls" else None)
        except (OSError, UnicodeError) as error:
            raise failures.unreachable(error) from error
        try:
            return cls(wire, endpoint, await shake_hands(wire, endpoint, tls, timeouts.command), timeouts)
        except BROKEN as error:
            wire.abort()
            raise failures.transient(error) from error
        except BaseException:
            wire.abort()
            raise

    @property
    def is_idle(self) -> bool:
        """Between two messages: nothing is half said."""
        return self._stage is Stage.IDLE

    # ── The end ───────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """QUIT, politely and briefly. In the middle of a message: abort."""
        was_idle, self._stage = self.is_idle, Stage.OVER
        try:
            if was_idle:
                self._wire.write(b"QUIT\r\n")
                await self._wire.reply(FAREWELL_SECONDS)
                await self._wire.close(FAREWELL_SECONDS)
        except BROKEN:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once; what is still in our buffers, a dot included, never leaves."""
        self._stage = Stage.OVER
        self._wire.abort()

    async def _ask(self, *commands: bytes) -> Reply:
        self._wire.write(b"".join(commands))
        self._owed += len(commands)
        return await self._reply()

    async def _reply(self) -> Reply:
        reply = await self._wire.reply(self._timeouts.command)
        self._owed -= 1
        if reply.is_closing:
            self.abort()
            raise verdict(reply)
        return reply

    def _expect(self, stage: Stage) -> None:
        if self._stage is not stage:
            raise RuntimeError(f"The conversation is not {stage.value!r} but {self._stage.value!r}.")
