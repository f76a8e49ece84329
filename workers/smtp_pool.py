"""Connections to one provider, kept for the next message.

The pool has no limit of its own: no more are lent than the worker has deliveries under way. It lives
in one event loop. The most recently used goes out first, so that the others can grow old and leave.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from workers.channels.base import Refusal
from workers.channels.letter import Letter
from workers.providers import Endpoint
from workers.smtp import Conversation
from workers.smtp_failures import Stale
from workers.smtp_replies import Reply
from workers.smtp_wire import Timeouts

IDLE_SECONDS: Final = 30.0  # servers wait five minutes (RFC 5321 §4.5.3.2.7), the impatient ones less than one


class Pool:
    """Lends conversations with one endpoint. Raises ImproperlyConfigured when its CA file cannot be read."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
        self._tls = endpoint.tls_context()  # once: reading the authorities takes longer than sending a mail
        self._idle_seconds = idle_seconds
        self._idle: deque[tuple[float, Conversation]] = deque()  # (since, …), the oldest on the left
        self._farewells: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Loan]:
        """A conversation for one message; raises Transient when nobody answers.

        However the block is left, a conversation in the middle of a message is dropped without its dot.
        """
        loan = Loan(self, self._take_idle() or await self.open())
        try:
            yield loan
        finally:
            self._give_back(loan.conversation)

    async def open(self) -> Conversation:
        return await Conversation.open(self.endpoint, self._timeouts, tls=self._tls)

    async def close(self) -> None:
        """Quit what is idle. What is still lent is quit or dropped when it comes back."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            self._dismiss(self._idle.pop()[1])
        if self._farewells:
            await asyncio.wait(self._farewells)

    def _take_idle(self) -> Conversation | None:
        while self._idle:
            since, conversation = self._idle.pop()
            if conversation.is_reusable and since > self._oldest_allowed():
                return conversation
            self._dismiss(conversation)
        return None

    def _give_back(self, conversation: Conversation) -> None:
        if self._is_closed or not conversation.is_reusable:
            self._dismiss(conversation)
            return
        self._idle.append((asyncio.get_running_loop().time(), conversation))
        self._plan_sweep()

    def _plan_sweep(self) -> None:
        if self._sweep is None and self._idle:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_at(self._idle[0][0] + self._idle_seconds, self._sweep_out)

    def _sweep_out(self) -> None:
        self._sweep = None
        while self._idle and self._idle[0][0] <= self._oldest_allowed():
            self._dismiss(self._idle.popleft()[1])
        self._plan_sweep()

    def _oldest_allowed(self) -> float:
        return asyncio.get_running_loop().time() - self._idle_seconds

    def _dismiss(self, conversation: Conversation) -> None:
        """Let it go: nobody waits for a QUIT, and nothing is said in the middle of a message."""
        if not conversation.is_idle:
            conversation.abort()
            return
        farewell = asyncio.create_task(conversation.close())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)


class Loan:
    """One conversation in the hands of one delivery."""

    def __init__(self, pool: Pool, conversation: Conversation) -> None:
        self._pool = pool
        self.conversation = conversation

    @property
    def accepted(self) -> tuple[str, ...]:
        return self.conversation.accepted

    @property
    def refused(self) -> tuple[Refusal, ...]:
        return self.conversation.refused

    async def offer(self, letter: Letter) -> None:
        """As Conversation.offer, and once more on a fresh connection when a reused one had died unnoticed."""
        try:
            await self.conversation.offer(letter)
        except Stale:
            self.conversation = await self._pool.open()
            await self.conversation.offer(letter)

    async def commit(self) -> Reply:
        """As Conversation.commit. It is never repeated."""
        return await self.conversation.commit()
