"""One connection as the server of smtp_servers.py sees it, and the shapes of what it may be told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Act(Enum):
    """What a server may do instead of answering."""

    DROP = "close the connection without a word"
    RESET = "reset it"
    STALL = "hear everything and say nothing, for ever"
    DEAF = "hear nothing, say nothing, for ever"


@dataclass(frozen=True)
class AtDot:
    """Whether the message goes into the book, and what the client hears of it (None: the ordinary 250)."""

    kept: bool
    answer: str | bytes | Act | None = None


Answer = str | bytes | Act  # bytes: as they are, without a line end, and then the connection is closed
AtDotRule = Answer | AtDot | None

ACCEPT_THEN_DROP = AtDot(True, Act.DROP)
ACCEPT_THEN_STALL = AtDot(True, Act.STALL)
THROW_AWAY_AND_DROP = AtDot(False, Act.DROP)


@dataclass(frozen=True)
class Mail:
    """A message in the book; `body` as it was before dot-stuffing, without the dot."""

    mail_from: str
    recipients: tuple[str, ...]
    body: bytes

    @property
    def message_id(self) -> str:
        found = re.search(rb"^Message-ID: *(\S+)", self.body, re.IGNORECASE | re.MULTILINE)
        return found[1].decode() if found else ""


class End(Exception):
    """The connection is over."""


class Session:
    """One connection, as the server sees it."""

    def __init__(self, server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.input = bytearray()
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def run(self) -> None:
        await self.say(self.server.answer_for("banner", "220 faulty.test ESMTP"))
        while True:
            line = await self.line()
            self.server.commands.append(line)
            verb = line.split(" ")[0].split(":")[0].lower()
            step = getattr(self, f"do_{verb}", None)
            await (step(line) if step else self.say("502 5.5.1 What?"))

    # ── Commands ──────────────────────────────────────────────────────────────────────────────

    async def do_ehlo(self, line: str) -> None:
        await self.say(self.server.answer_for("ehlo", self.greeting()))

    async def do_helo(self, line: str) -> None:
        await self.say(self.server.answer_for("helo", "250 faulty.test"))

    def greeting(self) -> str:
        words = ["faulty.test", *self.server.extensions]
        if self.server.pipelining:
            words.append("PIPELINING")
        if self.server.starttls and not self.is_encrypted:
            words.append("STARTTLS")
        if self.server.users is not None:
            words.append(f"AUTH {self.server.mechanisms}")
        return "\r\n".join([*(f"250-{word}" for word in words[:-1]), f"250 {words[-1]}"])

    @property
    def is_encrypted(self) -> bool:
        return self.writer.get_extra_info("ssl_object") is not None

    async def do_starttls(self, line: str) -> None:
        answer = self.server.answer_for("starttls", "220 2.0.0 Go ahead")
        await self.say(answer)
        if isinstance(answer, str) and answer.startswith("220") and self.server.starttls and "\n" not in answer:
            await self.writer.start_tls(self.server.starttls)

    async def do_auth(self, line: str) -> None:
        mechanism, *initial = line.split(" ")[1:]
        if mechanism.upper() == "PLAIN":
            _, username, password = base64.b64decode(initial[0]).decode().split("\0")
        else:
            username = await self.challenge("VXNlcm5hbWU6")
            password = await self.challenge("UGFzc3dvcmQ6")
        self.server.logins.append(f"{mechanism.upper()} {username} {'tls' if self.is_encrypted else 'clear'}")
        is_right = (self.server.users or {}).get(username) == password
        ordinary = "235 2.7.0 Welcome" if is_right else "535 5.7.8 Bad credentials"
        await self.say(self.server.answer_for("auth", ordinary))

    async def challenge(self, words: str) -> str:
        await self.say(f"334 {words}")
        return base64.b64decode(await self.line()).decode()

    async def do_mail(self, line: str) -> None:
        answer = self.server.answer_for("mail", "250 2.1.0 OK")
        if is_positive(answer):
            self.sender, self.recipients = path(line), []
        await self.say(answer)

    async def do_rcpt(self, line: str) -> None:
        address = path(line)
        ordinary = "250 2.1.5 OK" if self.sender is not None else "503 5.5.1 MAIL first"
        answer = self.server.rcpt_answers.get(address) or self.server.answer_for("rcpt", ordinary)
        if is_positive(answer):
            self.recipients.append(address)
        await self.say(answer)

    async def do_data(self, line: str) -> None:
        answer = self.server.answer_for("data", "354 Go ahead" if self.recipients else "554 5.5.1 No valid recipients")
        await self.say(answer)
        if isinstance(answer, str) and answer.startswith("354"):
            await self.end_of_data(await self.body())

    async def do_rset(self, line: str) -> None:
        self.forget()
        await self.say(self.server.answer_for("rset", "250 2.0.0 OK"))

    async def do_noop(self, line: str) -> None:
        await self.say("250 2.0.0 OK")

    async def do_quit(self, line: str) -> None:
        await self.say(self.server.answer_for("quit", "221 2.0.0 Bye"))
        await self.act(Act.DROP)

    def forget(self) -> None:
        self.sender, self.recipients = None, []

    # ── The message ───────────────────────────────────────────────────────────────────────────

    async def body(self) -> bytes | None:
        """What stands before the dot; None when it was refused while it came."""
        refused = False
        while True:
            if self.server.in_body and not refused and len(self.input) >= self.server.in_body[0]:
                refused = True
                await self.say(self.server.in_body[1])
            if (end := (b"\r\n" + self.input).find(b"\r\n.\r\n")) >= 0:
                body = bytes(self.input[:end])
                del self.input[: end + 3]
                self.server.dots += 1
                return None if refused else body
            try:
                await self.more()
            except (End, OSError):
                self.server.unfinished.append(bytes(self.input))
                raise

    async def end_of_data(self, stuffed: bytes | None) -> None:
        if stuffed is None or self.sender is None:
            self.forget()
            return
        body = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        mail = Mail(self.sender, tuple(self.recipients), body)
        self.forget()
        at_dot = self.rule_at_dot(mail)
        if at_dot.kept:
            self.server.keep(mail)
        await self.say(at_dot.answer or f"250 2.0.0 Queued as {self.server.dots}")

    def rule_at_dot(self, mail: Mail) -> AtDot:
        rule: AtDotRule = self.server.answer_for("dot", "")
        if rule == "":
            rule = self.server.at_dot(mail) if callable(self.server.at_dot) else self.server.at_dot
        if isinstance(rule, AtDot):
            return rule
        return AtDot(rule is None or is_positive(rule), rule)

    # ── Speaking and hearing ──────────────────────────────────────────────────────────────────

    async def say(self, answer: Answer | AtDot) -> None:
        if isinstance(answer, Act):
            await self.act(answer)
        elif isinstance(answer, str):
            self.writer.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
            await self.writer.drain()
        elif isinstance(answer, bytes):
            self.writer.write(answer)
            await self.act(Act.DROP)

    async def act(self, act: Act) -> None:
        if act is Act.STALL:
            while True:
                await self.more()
                self.input.clear()
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
        self.input += data


def is_positive(answer: Answer | AtDot) -> bool:
    return isinstance(answer, str) and answer.startswith("2")


def path(line: str) -> str:
    """The address between the brackets of MAIL or RCPT."""
    return line.partition("<")[2].partition(">")[0]
