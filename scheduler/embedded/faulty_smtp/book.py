"""What the server has heard: every message, every command. Safe to read from any thread while it runs."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field, replace
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser

JOB_ID_HEADER = "X-Job-ID"
PHASES = (
    *("banner", "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data"),
    *("body", "dot"),  # the first bytes of a message, and its end
    *("rset", "noop", "quit"),
)


@dataclass(frozen=True)
class Mail:
    """A message whose dot was heard, as the book knows it now. Two are equal when envelope and body are."""

    mail_from: str
    recipients: tuple[str, ...]
    body: bytes  # as it was before dot-stuffing, without the dot
    number: int = field(default=0, compare=False)  # 1 for the first dot that was heard, and so on
    connection: int = field(default=0, compare=False)  # number of the connection, from 1
    heard_at: float = field(default=0.0, compare=False)  # time.monotonic() when its dot was read
    kept: bool = field(default=True, compare=False)  # False: thrown away, whatever was answered
    answer: str | None = field(default=None, compare=False)  # to the dot; None while there is none
    answered_at: float | None = field(default=None, compare=False)  # time.monotonic() when the socket had taken it

    @property
    def message_id(self) -> str:
        return self.header("Message-ID") or ""

    @property
    def job_id(self) -> str:
        """The header that Sendonce gives each mail; empty without it."""
        return self.header(JOB_ID_HEADER) or ""

    def header(self, name: str) -> str | None:
        """Unfolded and decoded; None when there is no such header."""
        value = BytesHeaderParser(policy=policy.compat32).parsebytes(self.body)[name]
        if value is None:
            return None
        unfolded = re.sub(r"\r?\n(?=[ \t])", "", str(value))
        try:
            return str(make_header(decode_header(unfolded)))
        except (HeaderParseError, LookupError, ValueError):  # no encoded word that anybody could read
            return unfolded

    @property
    def message(self) -> EmailMessage:
        """Parsed: `mail.message.get_body().get_content()`."""
        lines = self.body.replace(b"\r\n", b"\n")  # or the text would keep the line ends of SMTP
        return BytesParser(policy=policy.default).parsebytes(lines)


@dataclass(frozen=True)
class Moment:
    """Where a conversation stands when the script is asked what to do."""

    phase: str  # one of PHASES, or another verb that was heard, in lower case
    connection: int
    sender: str = ""  # in "mail" the one that is asked about
    recipients: tuple[str, ...] = ()  # accepted so far; in "rcpt" also, as the last, the one that is asked about
    mail: Mail | None = None  # at the dot


class Book:
    """Keeps everything in memory. Another book may keep less: `hear`, `finish`, `settle` and `abandon` are all
    that the server calls, each in its loop's thread; `settle` with the lock held.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._mails: list[Mail] = []
        self._commands: list[str] = []
        self._unfinished: list[bytes] = []

    def hear(self, command: str) -> None:
        with self.lock:
            self._commands.append(command)

    def finish(self, mail: Mail) -> None:
        """Its dot was heard, and whether it is kept is decided; mails come in the order of their numbers."""
        with self.lock:
            self._mails.append(mail)

    def settle(self, mail: Mail, answer: str) -> None:
        """The answer to its dot was handed to the socket."""
        with self.lock:
            self._mails[mail.number - 1] = replace(mail, answer=answer, answered_at=time.monotonic())

    def abandon(self, body: bytes) -> None:
        """The connection ended before the dot."""
        with self.lock:
            self._unfinished.append(body)

    @property
    def mails(self) -> list[Mail]:
        with self.lock:
            return list(self._mails)

    @property
    def commands(self) -> list[str]:
        with self.lock:
            return list(self._commands)

    @property
    def unfinished(self) -> list[bytes]:
        with self.lock:
            return list(self._unfinished)
