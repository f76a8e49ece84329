"""A local SMTP server that keeps every mail as a file: `python -m scheduler.embedded.inbox --port 1025 --folder …`.

Each mail is `<id>.eml` (as received) and `<id>.json` (envelope). Ids sort by time of arrival.
250 is answered only after both are on disk.

Some recipients play the other side's faults, whatever their domain:
`refuse@…` gets 550 at RCPT (the job is a dead letter), `defer@…` gets 451 at RCPT (it is tried again),
`silent@…` has the mail kept and the connection dropped without a reply (nobody knows: `unknown`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import signal
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MAIL_BYTES = 20 * 1024 * 1024
ID = re.compile(r"[0-9]{19}-[0-9a-f]{8}")
REFUSALS = {"refuse": "550 5.1.1 no such mailbox (played)", "defer": "451 4.2.0 mailbox busy, try later (played)"}
SILENT = "silent"


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


class InboxHandler:
    """What aiosmtpd calls: names of its hooks, its order of arguments."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """aiosmtpd reads command by command from one stream, so clients may send several at once."""
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = REFUSALS.get(_local_part(address))
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        try:
            mail = await asyncio.to_thread(self._inbox.keep, envelope.mail_from or "", list(envelope.rcpt_tos), content)
        except OSError as error:
            return f"452 4.3.1 cannot be stored: {error.strerror}"
        if SILENT in map(_local_part, envelope.rcpt_tos) and server.transport is not None:
            server.transport.close()  # what is written to it from now on, our reply, goes nowhere
        return f"250 2.0.0 kept as {mail.id}"


def _local_part(address: str) -> str:
    return address.rpartition("@")[0].lower()


async def serve(port: int, folder: Path, stop: asyncio.Event) -> None:
    """Listen on 127.0.0.1 until `stop` is set."""
    handler = InboxHandler(Inbox(folder))

    def conversation() -> SMTP:
        return SMTP(
            handler,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname="inbox.localhost",
            ident="Sendonce local inbox",
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(conversation, "127.0.0.1", port)
    async with server:
        await stop.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description="A local SMTP inbox that keeps each mail as a file.")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(options.port, options.folder, stop)


if __name__ == "__main__":
    asyncio.run(main())
