"""The SMTP conversation with the two-step DATA, the heart of the promise.

    conversation = await Conversation.open(endpoint, timeouts)
    await conversation.offer(letter)      # envelope and the whole body, without the final dot
    ...the caller commits the dot mark...
    reply = await conversation.commit()   # the dot, and the answer to it

Until the dot is written the server has to throw everything away (RFC 5321 §4.1.1.4: the message ends
with `.`; a connection that ends before does not deliver). So whatever `offer` raises, nothing was
sent; and the time in which nobody can know is one round trip, inside `commit`.
"""

from __future__ import annotations

import asyncio
import ssl
from enum import Enum
from typing import Final

from jobs import errors
from workers import smtp_failures as failures
from workers.channels.base import Refusal
from workers.channels.letter import Letter
from workers.providers import Endpoint
from workers.smtp_envelope import judge_recipients, mail_command, rcpt_commands, refuse_unsendable
from workers.smtp_failures import BROKEN, CLOSED_BEFORE_DOT, Stale
from workers.smtp_hello import Capabilities, shake_hands
from workers.smtp_replies import Garbled, Reply, verdict
from workers.smtp_wire import Lost, Timeouts, Wire

MAX_TRANSACTIONS: Final = 100  # per connection; many servers hang up on longer ones
PIECE: Final = 256 * 1024  # bytes of body between two looks at what the server says
FAREWELL_SECONDS: Final = 2.0


class _Stage(Enum):
    IDLE = "between two messages"
    ENVELOPE = "from MAIL to DATA"
    BODY = "the server reads a message and waits for its dot"
    OFFERED = "everything but the dot is out"
    OVER = "nothing more will be said"


class Conversation:
    """One session with one server, one message after the other. Use it from one task at a time."""

    def __init__(self, wire: Wire, endpoint: Endpoint, capabilities: Capabilities, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self.capabilities = capabilities
        self.accepted: tuple[str, ...] = ()  # recipients of the current message …
        self.refused: tuple[Refusal, ...] = ()  # … and those the server would not take
        self._wire = wire
        self._timeouts = timeouts
        self._stage = _Stage.IDLE
        self._transactions = 0
        self._owed = 0  # replies to commands that were written
        self._early: Reply | None = None  # a reply in the middle of the body

    @classmethod
    async def open(cls, endpoint: Endpoint, timeouts: Timeouts, *, tls: ssl.SSLContext | None = None) -> Conversation:
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
        return self._stage is _Stage.IDLE

    @property
    def is_reusable(self) -> bool:
        """Between two messages, alive, quiet, and not yet too old."""
        return (
            self.is_idle and self._wire.is_open and not self._wire.has_input and self._transactions < MAX_TRANSACTIONS
        )

    # ── Everything short of the point of no return ────────────────────────────────────────────

    async def offer(self, letter: Letter) -> None:
        """MAIL, RCPT, DATA and the whole body without its dot.

        Whatever this raises, cancellation included, nothing was sent. Transient and Permanent by the
        server's word, with the rule for partly refused recipients (PROTOCOL 17): any transient refusal
        means again for everybody, but on the last attempt, and for permanent ones, the rest gets its mail
        and `refused` names who does not. Afterwards the conversation is idle again, or closed.
        """
        self._expect(_Stage.IDLE)
        refuse_unsendable(letter, self.capabilities)
        self._stage = _Stage.ENVELOPE
        self._transactions += 1
        self._early = None
        try:
            await self._open_envelope(letter)
            await self._write_body(letter.body)
        except errors.DeliveryError:
            await self._back_out()
            raise
        except BROKEN as error:
            self.abort()
            raise failures.transient(error) from error
        except BaseException:
            self.abort()
            raise
        self._stage = _Stage.OFFERED

    async def _open_envelope(self, letter: Letter) -> None:
        mail = mail_command(letter, self.capabilities)
        rcpts = rcpt_commands(letter)
        if "PIPELINING" in self.capabilities:
            await self._envelope_at_once(letter, mail, rcpts)
        else:
            await self._envelope_in_steps(letter, mail, rcpts)

    async def _envelope_at_once(self, letter: Letter, mail: bytes, rcpts: list[bytes]) -> None:
        """One write, one round trip (RFC 2920). All replies are read before any is judged."""
        sender = await self._begin(mail, *rcpts, b"DATA\r\n")
        recipients = [await self._reply() for _ in rcpts]
        data = await self._reply()
        self._note_whether_data_began(data)
        failures.demand_positive(sender)
        self.accepted, self.refused = judge_recipients(letter, recipients)
        failures.demand_go_ahead(data)

    async def _envelope_in_steps(self, letter: Letter, mail: bytes, rcpts: list[bytes]) -> None:
        failures.demand_positive(await self._begin(mail))
        recipients = [await self._ask(rcpt) for rcpt in rcpts]
        self.accepted, self.refused = judge_recipients(letter, recipients)
        data = await self._ask(b"DATA\r\n")
        self._note_whether_data_began(data)
        failures.demand_go_ahead(data)

    async def _begin(self, *commands: bytes) -> Reply:
        """The first words of a message. A server may have left an idle connection a moment ago."""
        try:
            return await self._ask(*commands)
        except (Lost, errors.Transient) as error:
            if self._transactions == 1:
                raise
            raise Stale(kind="smtp_closed") from error

    def _note_whether_data_began(self, reply: Reply) -> None:
        # Pipelined, the server may say 354 though we no longer want to send. From here on the only
        # way back is to close the connection: any dot, even after no body at all, would be a message.
        if reply.code == 354:
            self._stage = _Stage.BODY

    async def _write_body(self, body: bytes) -> None:
        view = memoryview(body)
        for start in range(0, len(view), PIECE):
            self._wire.write(view[start : start + PIECE])
            await self._wire.flushed(self._timeouts.command)
            self._heed_early_answer()
            if self._early is not None:
                return

    def _heed_early_answer(self) -> None:
        """Some servers refuse in the middle of a body (552, 421) and hang up."""
        early = self._wire.reply_already_here()
        if early is None:
            if not self._wire.is_open:
                raise Lost("The server closed the connection in the middle of the message.")
            return
        if early.is_refusal:
            raise verdict(early)
        self._early = early  # makes no sense, and `commit` will say so rather than write the dot

    async def _back_out(self) -> None:
        """After a refusal: RSET, so that the connection can be used again; else drop it, dotless."""
        may_reset = self._stage is _Stage.ENVELOPE and not self._owed and self._wire.is_open
        try:
            if may_reset and (await self._ask(b"RSET\r\n")).is_positive:
                self._stage = _Stage.IDLE
        except (errors.DeliveryError, *BROKEN):
            pass  # what is worth telling is why we back out
        finally:
            if not self.is_idle:
                self.abort()

    # ── The point of no return ────────────────────────────────────────────────────────────────

    async def commit(self) -> Reply:
        """The dot, and the server's answer. The caller has committed the mark.

        Returns a 2xx. Raises Transient or Permanent by a clear 4xx or 5xx: the message was not taken.
        Raises Transient of kind `smtp_closed_before_dot` (or the verdict of a 5xx that came early) when the
        server had gone or refused already: then no dot was written; Interrupted when cancelled before it.
        Raises Unanswered when a dot may have left and no clear answer came, and so too when cancelled: a
        CancelledError would not tell whether anything was sent.
        """
        self._expect(_Stage.OFFERED)
        await self._look_before_the_dot()
        self._stage = _Stage.OVER  # until the answer says otherwise
        try:
            self._wire.write(b".\r\n")
            reply = await self._wire.reply(self._timeouts.dot)
        except (Exception, asyncio.CancelledError) as error:
            last_word = self._last_word()
            if last_word is None:
                self.abort()
                raise failures.unanswered(error) from error
            reply = last_word
        except BaseException:
            self.abort()
            raise
        return self._heed_final_answer(reply)

    async def _look_before_the_dot(self) -> None:
        """Raise where it is known already that a dot would be in vain; each such case is one unknown less."""
        try:
            # The mark took milliseconds. Two turns of the event loop: in the first it looks at the
            # socket, in the second it hands over what it found there.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            early = self._early or self._wire.reply_already_here()
        except Garbled as error:
            self.abort()
            raise errors.Transient(str(error), kind=CLOSED_BEFORE_DOT) from error
        except asyncio.CancelledError as error:
            self.abort()
            raise errors.Interrupted(kind="interrupted") from error
        if early is None and self._wire.is_open and not self._wire.has_input:
            return
        self.abort()
        raise failures.known_before_the_dot(early)

    def _last_word(self) -> Reply | None:
        """The answer may have come in the very moment in which the wait for it ended."""
        try:
            return self._wire.reply_already_here()
        except Garbled:
            return None

    def _heed_final_answer(self, reply: Reply) -> Reply:
        if not (reply.is_positive or reply.is_refusal):
            self.abort()
            raise failures.senseless(reply)
        self._stage = _Stage.IDLE
        if reply.is_closing:
            self.abort()
        if reply.is_refusal:
            raise verdict(reply)
        return reply

    # ── The end ───────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """QUIT, politely and briefly. In the middle of a message: abort."""
        was_idle, self._stage = self.is_idle, _Stage.OVER
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
        self._stage = _Stage.OVER
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

    def _expect(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise RuntimeError(f"The conversation is not {stage.value!r} but {self._stage.value!r}.")
