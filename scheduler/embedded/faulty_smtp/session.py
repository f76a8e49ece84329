"""One connection: the commands of RFC 5321, STARTTLS (RFC 3207), AUTH PLAIN and LOGIN (RFC 4954)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .acts import Act, Answer, AtDot, Delay, is_positive, or_ordinary, words
from .book import Mail, Moment
from .wire import End, Wire, path

if TYPE_CHECKING:
    from .server import FaultySmtp


class Session:
    """A conversation with one client, from the banner to its end."""

    def __init__(self, server: FaultySmtp, wire: Wire, connection: int) -> None:
        self.server, self.book, self.wire = server, server.book, wire
        self.connection = connection
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def run(self) -> None:
        await self.say("banner", "220 faulty.test ESMTP")
        while True:
            line = await self.wire.line()
            self.book.hear(line)
            verb = line.split(" ")[0].split(":")[0].lower()
            step = getattr(self, f"do_{verb}", None)
            await (step(line) if step else self.say(verb, "502 5.5.1 What?"))

    # ── What to answer ────────────────────────────────────────────────────────────────────────

    async def say(self, phase: str, ordinary: str) -> None:
        await self.wire.say(self.answer(phase, ordinary))

    def answer(self, phase: str, ordinary: str, **moment: object) -> Answer:
        rule = self.rule(phase, **moment)
        return ordinary if rule is None else or_ordinary(rule, ordinary)

    def rule(self, phase: str, **moment: Any) -> Answer | None:
        rule = self.server.rule(self.moment(phase, **moment))
        if isinstance(rule, AtDot):
            raise TypeError(f"AtDot stands at the dot only, not at {phase!r}: answer with a text, bytes, Act or Delay.")
        return rule

    def moment(self, phase: str, **changed: Any) -> Moment:
        known = {"sender": self.sender or "", "recipients": tuple(self.recipients)}
        return Moment(phase, self.connection, **(known | changed))

    # ── Commands ──────────────────────────────────────────────────────────────────────────────

    async def do_ehlo(self, line: str) -> None:
        await self.say("ehlo", self.greeting())

    async def do_helo(self, line: str) -> None:
        await self.say("helo", "250 faulty.test")

    def greeting(self) -> str:
        offered = ["faulty.test", *self.server.extensions]
        if self.server.pipelining:
            offered.append("PIPELINING")
        if self.server.starttls and not self.wire.is_encrypted:
            offered.append("STARTTLS")
        if self.server.users is not None:
            offered.append(f"AUTH {self.server.mechanisms}")
        return "\r\n".join([*(f"250-{word}" for word in offered[:-1]), f"250 {offered[-1]}"])

    async def do_starttls(self, line: str) -> None:
        ordinary = "220 2.0.0 Go ahead" if self.server.starttls else "454 4.7.0 TLS not available"
        answer = self.answer("starttls", ordinary)
        await self.wire.say(answer)
        if self.server.starttls and words(answer).startswith("220") and "\n" not in words(answer):
            await self.wire.encrypt(self.server.starttls)

    async def do_auth(self, line: str) -> None:
        mechanism, *initial = line.split(" ")[1:] or [""]
        try:
            username, password = await self.credentials(mechanism.upper(), initial)
        except (binascii.Error, ValueError):
            await self.say("auth", "501 5.5.2 Cannot read these credentials")
            return
        self.server.logins.append(f"{mechanism.upper()} {username} {'tls' if self.wire.is_encrypted else 'clear'}")
        is_right = (self.server.users or {}).get(username) == password
        await self.say("auth", "235 2.7.0 Welcome" if is_right else "535 5.7.8 Bad credentials")

    async def credentials(self, mechanism: str, initial: list[str]) -> tuple[str, str]:
        if mechanism == "PLAIN":
            _, username, password = (base64.b64decode(initial[0]).decode() if initial else await self.ask("")).split(
                "\0"
            )
            return username, password
        return await self.ask("VXNlcm5hbWU6"), await self.ask("UGFzc3dvcmQ6")

    async def ask(self, challenge: str) -> str:
        await self.wire.say(f"334 {challenge}")
        return base64.b64decode(await self.wire.line()).decode()

    async def do_mail(self, line: str) -> None:
        sender = path(line)
        answer = self.answer("mail", "250 2.1.0 OK", sender=sender, recipients=())
        if is_positive(answer):
            self.sender, self.recipients = sender, []
        await self.wire.say(answer)

    async def do_rcpt(self, line: str) -> None:
        address = path(line)
        ordinary = "250 2.1.5 OK" if self.sender is not None else "503 5.5.1 MAIL first"
        answer = self.answer("rcpt", ordinary, recipients=(*self.recipients, address))
        if is_positive(answer):
            self.recipients.append(address)
        await self.wire.say(answer)

    async def do_data(self, line: str) -> None:
        answer = self.answer("data", "354 Go ahead" if self.recipients else "554 5.5.1 No valid recipients")
        await self.wire.say(answer)
        if words(answer).startswith("354"):
            await self.message()

    async def do_rset(self, line: str) -> None:
        self.forget()
        await self.say("rset", "250 2.0.0 OK")

    async def do_noop(self, line: str) -> None:
        await self.say("noop", "250 2.0.0 OK")

    async def do_quit(self, line: str) -> None:
        await self.say("quit", "221 2.0.0 Bye")
        await self.wire.act(Act.DROP)

    def forget(self) -> None:
        self.sender, self.recipients = None, []

    # ── The message ───────────────────────────────────────────────────────────────────────────

    async def message(self) -> None:
        try:
            refusal = await self.body()
        except (End, OSError):
            self.abandoned()
            raise
        await self.end_of_data(self.ended(), refusal)

    async def body(self) -> Answer | None:
        """Hear all of it; gives what was answered while it came."""
        heard, said, is_begun = self.wire.input, None, False
        while True:
            if said is None and self.server.in_body and len(heard) >= self.server.in_body[0]:
                said = self.server.in_body[1]
                await self.wire.say(said)
            if heard and not is_begun:
                is_begun = True
                said = await self.interrupt() or said
            if self.dot() >= 0:
                return said
            await self.wire.more()

    def dot(self) -> int:
        """Where it stands in what was heard; -1 when it has not come."""
        return (b"\r\n" + self.wire.input).find(b"\r\n.\r\n")

    def abandoned(self) -> None:
        """A dot that came after the server had stopped listening was on the wire, all the same."""
        if self.dot() >= 0:
            self.book.finish(self.ended())
        else:
            self.book.abandon(bytes(self.wire.input))

    async def interrupt(self) -> Answer | None:
        """At the first bytes; a delay of no answer in particular only makes the body slow."""
        rule = self.rule("body")
        if rule is not None:
            await self.wire.say(rule)
        return None if isinstance(rule, Delay) and rule.answer is None else rule

    def ended(self) -> Mail:
        end = self.dot()
        stuffed = bytes(self.wire.input[:end])
        del self.wire.input[: end + 3]
        body = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        self.server.dots += 1
        return Mail(
            self.sender or "",
            tuple(self.recipients),
            body,
            number=self.server.dots,
            connection=self.connection,
            heard_at=self.wire.heard_at,
            kept=False,
        )

    async def end_of_data(self, mail: Mail, refusal: Answer | None) -> None:
        """A message that was answered while it came is not kept, and its dot is not answered again."""
        self.forget()
        if refusal is not None:
            self.book.finish(mail)
            self.book.settle(mail, words(refusal))
            return
        at_dot = self.rule_at_dot(mail)
        mail = replace(mail, kept=at_dot.kept)
        self.book.finish(mail)
        ordinary = f"250 2.0.0 Queued as {mail.number}"
        answer = ordinary if at_dot.answer is None else or_ordinary(at_dot.answer, ordinary)
        await self.wire.say(answer, lambda data: self.hand(mail, data))

    def hand(self, mail: Mail, data: bytes) -> None:
        """Whoever has read the answer finds it in the book: until it stands there, nobody can look."""
        with self.book.lock:
            self.wire.writer.write(data)
            if data.endswith(b"\r\n") and not self.wire.writer.is_closing():
                self.book.settle(mail, data.decode("utf-8", "replace").removesuffix("\r\n"))

    def rule_at_dot(self, mail: Mail) -> AtDot:
        rule = self.server.rule(self.moment("dot", mail=mail, sender=mail.mail_from, recipients=mail.recipients))
        return rule if isinstance(rule, AtDot) else AtDot(rule is None or is_positive(or_ordinary(rule, "250")), rule)
