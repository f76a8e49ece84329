"""The folder where the local inbox keeps its mails: `<id>.eml` (as received) and `<id>.json` (envelope).

Ids sort by time of arrival. A mail is there as a whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ID = re.compile(r"[0-9]{19}-[0-9a-f]{8}")
HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class ReceivedMail:
    """One mail's envelope; `source` reads its bytes."""

    id: str
    mail_from: str
    rcpt_tos: list[str]
    received_at: str
    size: int


class Inbox:
    """The folder of received mails: written by the SMTP server, read by the page and by tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, mail_from: str, rcpt_tos: list[str], content: bytes) -> ReceivedMail:
        """Write both files, synced; the .eml appears last, so whatever is listed is complete."""
        mail = ReceivedMail(
            id=f"{time.time_ns():019d}-{secrets.token_hex(4)}",
            mail_from=mail_from,
            rcpt_tos=rcpt_tos,
            received_at=datetime.now(UTC).isoformat(),
            size=len(content),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(f"{mail.id}.json", json.dumps(asdict(mail), ensure_ascii=False, indent=1).encode())
        self._write(f"{mail.id}.eml", content)
        self._sync_names()
        return mail

    def ids(self) -> list[str]:
        """All of them, newest first."""
        if not self.folder.is_dir():
            return []
        names = (name.removesuffix(".eml") for name in os.listdir(self.folder) if name.endswith(".eml"))  # noqa: PTH208 - ten times faster for many
        return sorted((name for name in names if ID.fullmatch(name)), reverse=True)

    def newest(self, count: int) -> list[ReceivedMail]:
        return [mail for mail in map(self.find, self.ids()[:count]) if mail is not None]

    def find(self, id: str) -> ReceivedMail | None:
        """None for an unknown id and for anything that is no id, such as a path."""
        if not ID.fullmatch(id):
            return None
        try:
            return ReceivedMail(**json.loads((self.folder / f"{id}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def source(self, mail: ReceivedMail) -> bytes:
        return (self.folder / f"{mail.id}.eml").read_bytes()

    def head(self, id: str) -> bytes:
        """Its first lines, among them every header of a mail that has not thousands of recipients."""
        with (self.folder / f"{id}.eml").open("rb") as file:
            return file.read(HEAD_BYTES)

    def _write(self, name: str, content: bytes) -> None:
        aside = self.folder / f".{name}.part"
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.folder / name)

    def _sync_names(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
