"""Connections to one provider: kept for the next message, no more than it allows, and never idle while a message waits.

It lives in one event loop. The most recently used goes out first, so that the others can grow old and leave. When all
are taken, messages wait in a row; the first of them boards the connection whose message is just being ended, and
its envelope travels with that dot (workers/smtp.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from jobs.errors import Interrupted
from workers.channels.base import Refusal
from workers.channels.letter import Letter
from workers.providers import Endpoint
from workers.smtp import Conversation
from workers.smtp_failures import Stale
from workers.smtp_replies import Reply
from workers.smtp_wire import Timeouts

IDLE_SECONDS: Final = 30.0  # servers wait five minutes (RFC 5321 §4.5.3.2.7), the impatient ones less than one
PATIENCE_SECONDS: Final = 1.0  # behind somebody else's dot; then the next connection that is free is taken instead


@dataclass(slots=True, eq=False)
class _Seat:
    """A message that waits for a connection: one that is ready for it, or None when it may open its own."""

    letter: Letter
    line: asyncio.Future[Conversation | None]
    waits_until: float
    boarded_at: float = 0.0


class Pool:
    """Lends conversations with one endpoint. Raises ImproperlyConfigured when its CA file cannot be read."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
        self._tls = endpoint.tls_context()  # once: reading the authorities takes longer than sending a mail
        self._idle_seconds = idle_seconds
        self._idle: deque[tuple[float, Conversation]] = deque()  # (since, …), the oldest on the left
        self._lent = 0  # or being opened
        self._waiting: deque[_Seat] = deque()
        self._boarded: dict[Conversation, _Seat] = {}  # the oldest first
        self._farewells: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None  # for who waits longest
        self._is_closed = False

    async def lend(self, letter: Letter) -> Loan:
        """A conversation for one message, until `give_back`; raises Transient when nobody answers, and Interrupted when
        all connections are taken for too long: then others, or another worker, may be luckier."""
        return Loan(self, letter, await self._line_for(letter))

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

    # ── Who gets which ────────────────────────────────────────────────────────────────────────

    async def _line_for(self, letter: Letter) -> Conversation:
        conversation = self._take_idle()
        if conversation is None and self._lent >= self.endpoint.connections:
            conversation = await self._wait_for_line(letter)
        else:
            self._lent += 1
        if conversation is not None:
            return conversation
        try:
            return await self.open()
        except BaseException:
            self._return_none()
            raise

    async def _wait_for_line(self, letter: Letter) -> Conversation | None:
        """Whoever grants a seat has counted its connection as lent."""
        loop = asyncio.get_running_loop()
        seat = _Seat(letter, loop.create_future(), loop.time() + self._timeouts.connect)
        self._waiting.append(seat)
        if self._alarm is None:
            self._alarm = loop.call_at(seat.waits_until, self._lose_patience)
        try:
            return await seat.line
        except TimeoutError:
            if seat in self._waiting:  # else it has boarded, and is left behind when the answer has come
                self._waiting.remove(seat)
            raise Interrupted("All connections to the provider are taken.", kind="connections_busy") from None
        except asyncio.CancelledError:
            self._stand_up(seat)
            raise

    def _lose_patience(self) -> None:
        """Some have waited as long as they may. One alarm for all of them: nearly all get a line in time."""
        self._alarm = None
        loop = asyncio.get_running_loop()
        seats = [seat for seat in (*self._boarded.values(), *self._waiting) if not seat.line.done()]
        for seat in seats:
            if seat.waits_until <= loop.time():
                seat.line.set_exception(TimeoutError())
        if until := [seat.waits_until for seat in seats if not seat.line.done()]:
            self._alarm = loop.call_at(min(until), self._lose_patience)

    def _stand_up(self, seat: _Seat) -> None:
        """It does not want to travel any more."""
        if seat in self._waiting:
            self._waiting.remove(seat)
        elif seat.line.done() and not seat.line.cancelled():
            if (conversation := seat.line.result()) is not None:
                self.give_back(conversation)
            else:
                self._return_none()

    def board(self, conversation: Conversation) -> Letter | None:
        """The letter that travels next on this conversation, whose envelope may go with its dot; None: nobody waits."""
        while self._waiting and self._waiting[0].line.done():
            self._waiting.popleft()
        if self._is_closed or not self._waiting or not conversation.can_carry_next(self._waiting[0].letter):
            return None
        seat = self._waiting.popleft()
        seat.boarded_at = asyncio.get_running_loop().time()
        self._boarded[conversation] = seat
        return seat.letter

    def give_back(self, conversation: Conversation) -> None:
        """Whatever became of the message: a conversation in the middle of one is dropped without its dot.

        To whoever has boarded it, to whoever waits, or to the idle ones; or it is let go."""
        seat = self._boarded.pop(conversation, None)
        if seat is not None and not seat.line.done():
            if not conversation.is_begun:
                self._dismiss(conversation)
            seat.line.set_result(conversation if conversation.is_begun else None)
        elif self._is_closed or not conversation.is_reusable:
            self._dismiss(conversation)
            self._return_none()
        elif (waiting := self._next_in_row()) is not None:
            waiting.line.set_result(conversation)
        else:
            self._lent -= 1
            self._idle.append((asyncio.get_running_loop().time(), conversation))
            self._plan_sweep()

    def _return_none(self) -> None:
        """One connection less: somebody who waits may open another."""
        if (waiting := self._next_in_row()) is not None:
            waiting.line.set_result(None)
        else:
            self._lent -= 1

    def _next_in_row(self) -> _Seat | None:
        """Who waits longest; or, when nobody does, who has waited too long behind a dot that is not answered. That
        one's conversation is dropped when the answer has come: its next message was begun and will not be sent."""
        while self._waiting:
            seat = self._waiting.popleft()
            if not seat.line.done():
                return seat
        too_late = asyncio.get_running_loop().time() - PATIENCE_SECONDS
        for conversation, seat in self._boarded.items():
            if seat.boarded_at > too_late:
                break
            if not seat.line.done():
                del self._boarded[conversation]
                return seat
        return None

    # ── The idle ones ─────────────────────────────────────────────────────────────────────────

    def _take_idle(self) -> Conversation | None:
        while self._idle:
            since, conversation = self._idle.pop()
            if conversation.is_reusable and since > self._oldest_allowed():
                return conversation
            self._dismiss(conversation)
        return None

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

    def __init__(self, pool: Pool, letter: Letter, conversation: Conversation) -> None:
        self._pool = pool
        self._letter = letter
        self.conversation = conversation

    @property
    def accepted(self) -> tuple[str, ...]:
        return self.conversation.accepted

    @property
    def refused(self) -> tuple[Refusal, ...]:
        return self.conversation.refused

    async def offer(self) -> None:
        """As Conversation.offer, and once more on a fresh connection when a reused one had died unnoticed."""
        try:
            await self.conversation.offer(self._letter)
        except Stale:
            self.conversation = await self._pool.open()
            await self.conversation.offer(self._letter)

    async def commit(self) -> Reply:
        """As Conversation.commit. It is never repeated."""
        return await self.conversation.commit(self._pool.board(self.conversation))

    def give_back(self) -> None:
        self._pool.give_back(self.conversation)
