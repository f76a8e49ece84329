"""A book for long runs: counts in memory, and what was heard as JSON lines, each written when it happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email import policy
from email.parser import BytesHeaderParser
from typing import IO, Any

from .book import Book, Mail


class Journal(Book):
    """Keeps no mails and no commands.

    {"event": "dot", "at", "number", "connection", "sender", "recipients", "kept", "size", "headers"}
    {"event": "answer", "at", "number", "answer"}    only if the socket has taken one
    {"event": "unfinished", "at", "size"}            a body whose dot never came
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__()
        self._file = file
        self.heard = self.kept = self.answered = self.never_finished = 0

    def hear(self, command: str) -> None:
        pass

    def finish(self, mail: Mail) -> None:
        self.heard += 1
        self.kept += mail.kept
        self._write(
            event="dot",
            number=mail.number,
            connection=mail.connection,
            sender=mail.mail_from,
            recipients=mail.recipients,
            kept=mail.kept,
            size=len(mail.body),
            headers=headers(mail.body),
        )

    def settle(self, mail: Mail, answer: str) -> None:
        self.answered += 1
        self._write(event="answer", number=mail.number, answer=answer)

    def abandon(self, body: bytes) -> None:
        self.never_finished += 1
        self._write(event="unfinished", size=len(body))

    def _write(self, **fact: Any) -> None:
        if self._file is None:
            return
        line = {"event": fact.pop("event"), "at": datetime.now(UTC).isoformat(), **fact}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.heard} mails heard: {self.kept} kept, {self.heard - self.kept} thrown away; "
            f"{self.answered} answered, {self.heard - self.answered} not; "
            f"{self.never_finished} bodies without their dot"
        )


def headers(body: bytes) -> dict[str, str]:
    """By name as written; of several of one name the first."""
    found = BytesHeaderParser(policy=policy.compat32).parsebytes(body)
    return {name: str(found[name]) for name in found}
