"""The SMTP conversation with the two-step DATA, the heart of the promise.

    conversation = await Conversation.open(endpoint, timeouts)
    await conversation.offer(letter)      # envelope and the whole body, without the final dot
    ...the caller commits the dot mark...
    reply = await conversation.commit()   # the dot, and the answer to it

Where the server takes PIPELINING, `commit(following)` sends the next letter's envelope along with the dot, and its
`offer` finds the answers waiting: one round trip a mail instead of two (RFC 2920 §3.1).

Until the dot is written the server has to throw everything away (RFC 5321 §4.1.1.4: the message ends
with `.`; a connection that ends before does not deliver). So whatever `offer` raises, nothing was
sent; and the time in which nobody can know is one round trip, inside `commit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from jobs import errors
from workers import smtp_failures as failures
from workers.channels.base import Refusal
from workers.channels.letter import Letter
from workers.providers import Endpoint
from workers.smtp_envelope import judge_recipients, mail_command, rcpt_commands, refuse_unsendable
from workers.smtp_failures import BROKEN, CLOSED_BEFORE_DOT, Stale
from workers.smtp_hello import Capabilities
from workers.smtp_replies import Garbled, Reply, verdict
from workers.smtp_session import Session, Stage
from workers.smtp_wire import Lost, Timeouts, Wire

MAX_TRANSACTIONS: Final = 100  # per connection; many servers hang up on longer ones
PIECE: Final = 256 * 1024  # bytes of body between two looks at what the server says
DOT: Final = b".\r\n"


class Conversation(Session):
    """One message after the other, over one session. Use it from one task at a time."""

    def __init__(self, wire: Wire, endpoint: Endpoint, capabilities: Capabilities, timeouts: Timeouts) -> None:
        super().__init__(wire, endpoint, capabilities, timeouts)
        self.accepted: tuple[str, ...] = ()  # recipients of the current message …
        self.refused: tuple[Refusal, ...] = ()  # … and those the server would not take
        self._transactions = 0
        self._early: Reply | None = None  # a reply in the middle of the body
        self._ahead: Letter | None = None  # whose envelope went with the last dot

    @property
    def is_begun(self) -> bool:
        """The envelope of the next message is out, and its `offer` may go on."""
        return self._stage is Stage.AHEAD and self._wire.is_open

    @property
    def is_reusable(self) -> bool:
        """Between two messages, alive, quiet, and not yet too old."""
        return (
            self.is_idle and self._wire.is_open and not self._wire.has_input and self._transactions < MAX_TRANSACTIONS
        )

    def can_carry_next(self, letter: Letter) -> bool:
        """Whether this letter's envelope may go with the dot of the message that is offered now."""
        if "PIPELINING" not in self.capabilities or self._transactions >= MAX_TRANSACTIONS:
            return False
        try:
            refuse_unsendable(letter, self.capabilities)
        except errors.DeliveryError:  # its own offer will say so
            return False
        return True

    # ── Everything short of the point of no return ────────────────────────────────────────────

    async def offer(self, letter: Letter) -> None:
        """MAIL, RCPT, DATA and the whole body without its dot.

        Whatever this raises, cancellation included, nothing was sent. Transient and Permanent by the
        server's word, with the rule for partly refused recipients (PROTOCOL 17): any transient refusal
        means again for everybody, but on the last attempt, and for permanent ones, the rest gets its mail
        and `refused` names who does not. Afterwards the conversation is idle again, or closed.
        """
        self._expect(Stage.AHEAD if letter is self._ahead else Stage.IDLE)
        if letter is not self._ahead:  # which `can_carry_next` has let pass
            refuse_unsendable(letter, self.capabilities)
        self._stage = Stage.ENVELOPE
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
        self._stage = Stage.OFFERED

    async def _open_envelope(self, letter: Letter) -> None:
        if "PIPELINING" in self.capabilities:
            await self._envelope_at_once(letter, () if letter is self._ahead else _envelope(letter, self.capabilities))
        else:
            await self._envelope_in_steps(letter, _envelope(letter, self.capabilities))

    async def _envelope_at_once(self, letter: Letter, commands: Sequence[bytes]) -> None:
        """One write, one round trip (RFC 2920), or none where it has gone ahead. All replies are read before any is
        judged."""
        sender = await self._begin(*commands)
        self._ahead = None
        recipients = [await self._reply() for _ in letter.recipients]
        data = await self._reply()
        self._note_whether_data_began(data)
        failures.demand_positive(sender)
        self.accepted, self.refused = judge_recipients(letter, recipients)
        failures.demand_go_ahead(data)

    async def _envelope_in_steps(self, letter: Letter, commands: Sequence[bytes]) -> None:
        mail, *rcpts, data_command = commands
        failures.demand_positive(await self._begin(mail))
        recipients = [await self._ask(rcpt) for rcpt in rcpts]
        self.accepted, self.refused = judge_recipients(letter, recipients)
        data = await self._ask(data_command)
        self._note_whether_data_began(data)
        failures.demand_go_ahead(data)

    async def _begin(self, *commands: bytes) -> Reply:
        """The first words of a message, or none when they have gone ahead. A server may have left an idle connection a
        moment ago, or dropped what came behind a dot."""
        try:
            return await (self._ask(*commands) if commands else self._reply())
        except (Lost, errors.Transient) as error:
            if self._transactions == 1:
                raise
            raise Stale(kind="smtp_closed") from error
        except TimeoutError as error:
            if commands:
                raise
            raise Stale(kind="smtp_closed") from error

    def _note_whether_data_began(self, reply: Reply) -> None:
        # Pipelined, the server may say 354 though we no longer want to send. From here on the only
        # way back is to close the connection: any dot, even after no body at all, would be a message.
        if reply.code == 354:
            self._stage = Stage.BODY

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
        may_reset = self._stage is Stage.ENVELOPE and not self._owed and self._wire.is_open
        try:
            if may_reset and (await self._ask(b"RSET\r\n")).is_positive:
                self._stage = Stage.IDLE
        except (errors.DeliveryError, *BROKEN):
            pass  # what is worth telling is why we back out
        finally:
            if not self.is_idle:
                self.abort()

    # ── The point of no return ────────────────────────────────────────────────────────────────

    async def commit(self, following: Letter | None = None) -> Reply:
        """The dot, and the server's answer. The caller has committed the mark.

        With `following`, which `can_carry_next` has let pass, the next message is begun by the same write; whatever
        this returns or raises, the conversation is good for that letter's `offer`, or closed.

        Returns a 2xx. Raises Transient or Permanent by a clear 4xx or 5xx: the message was not taken.
        Raises Transient of kind `smtp_closed_before_dot` (or the verdict of a 5xx that came early) when the
        server had gone or refused already: then no dot was written; Interrupted when cancelled before it.
        Raises Unanswered when a dot may have left and no clear answer came, and so too when cancelled: a
        CancelledError would not tell whether anything was sent.
        """
        self._expect(Stage.OFFERED)
        await self._look_before_the_dot()
        self._stage = Stage.OVER  # until the answer says otherwise
        try:
            self._wire.write(self._last_words(following))
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

    def _last_words(self, following: Letter | None) -> bytes:
        self._ahead = following
        if following is None:
            return DOT
        commands = _envelope(following, self.capabilities)
        self._owed += len(commands)
        return DOT + b"".join(commands)

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
        self._stage = Stage.AHEAD if self._ahead else Stage.IDLE
        if reply.is_closing:
            self.abort()
        if reply.is_refusal:
            raise verdict(reply)
        return reply


def _envelope(letter: Letter, capabilities: Capabilities) -> list[bytes]:
    return [mail_command(letter, capabilities), *rcpt_commands(letter), b"DATA\r\n"]
