"""A local SMTP server that keeps every mail as a file: `python -m scheduler.embedded.inbox --port 1025 --folder …`.

250 is answered only after the mail is on disk (inbox_folder.py).

Some recipients play the other side's faults, whatever their domain:
`refuse@…` gets 550 at RCPT (the job is a dead letter), `defer@…` gets 451 at RCPT (it is tried again),
`silent@…` has the mail kept and the connection dropped without a reply (nobody knows: `unknown`),
`forgetful@…` the same, but its book can be asked (the unknown is settled by evidence).

The book is asked by a command of our own, as RFC 5321 §4.1.5 allows: `XACCEPTED <message-id>`. 250: the mail was
taken. 550: it was not, and none is under way on any connection. 252: cannot say.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from scheduler.embedded.inbox_book import Book
from scheduler.embedded.inbox_folder import Inbox

MAX_MAIL_BYTES = 20 * 1024 * 1024
REFUSALS = {"refuse": "550 5.1.1 no such mailbox (played)", "defer": "451 4.2.0 mailbox busy, try later (played)"}
SILENT, FORGETFUL = "silent", "forgetful"


class InboxHandler:
    """What aiosmtpd calls: names of its hooks, its order of arguments."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """aiosmtpd reads command by command from one stream, so clients may send several at once."""
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-XACCEPTED", responses[-1]]

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
        # Kept to the end even when the connection is lost meanwhile, and under way until then.
        reply = await asyncio.shield(asyncio.ensure_future(self._keep(envelope)))
        if _names_one_of(envelope.rcpt_tos, SILENT, FORGETFUL) and server.transport is not None:
            server.transport.close()  # what is written to it from now on, our reply, goes nowhere
        return reply

    async def _keep(self, envelope: Envelope) -> str:
        mail_from, rcpt_tos = envelope.mail_from or "", list(envelope.rcpt_tos)
        with self._book.under_way():
            try:
                mail = await asyncio.to_thread(self._book.keep, mail_from, rcpt_tos, envelope.original_content or b"")
            except OSError as error:
                return f"452 4.3.1 cannot be stored: {error.strerror}"
        return f"250 2.0.0 kept as {mail.id}"


class Conversation(SMTP):
    """aiosmtpd's, whose mails are under way from their DATA on, and XACCEPTED."""

    def __init__(self, book: Book) -> None:
        super().__init__(
            InboxHandler(book),
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname="inbox.localhost",
            ident="Sendonce local inbox",
            loop=asyncio.get_running_loop(),
        )
        self._book = book

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        with self._book.under_way():
            await super().smtp_DATA(arg)

    @syntax("XACCEPTED <message-id>")
    async def smtp_XACCEPTED(self, arg: str | None) -> None:  # noqa: N802
        if await self.check_helo_needed():
            return
        await self.push(await self._answer(arg) if arg else "501 5.5.4 Syntax: XACCEPTED <message-id>")

    async def _answer(self, message_id: str) -> str:
        was_quiet = self._book.is_quiet
        mail = await asyncio.to_thread(self._book.find, message_id)
        if mail is not None and _names_one_of(mail.rcpt_tos, SILENT):
            return "252 2.0.0 cannot say: nobody may read the book about this recipient (played)"
        if mail is not None:
            return f"250 2.0.0 taken at {mail.received_at} as {mail.id}"
        return "550 5.0.0 never taken" if was_quiet else "252 2.0.0 cannot say: a mail is under way"


def _names_one_of(recipients: list[str], *names: str) -> bool:
    return not {_local_part(address) for address in recipients}.isdisjoint(names)


def _local_part(address: str) -> str:
    return address.rpartition("@")[0].lower()


async def serve(port: int, folder: Path, stop: asyncio.Event) -> None:
    """Listen on 127.0.0.1 until `stop` is set."""
    book = Book(Inbox(folder))
    server = await asyncio.get_running_loop().create_server(lambda: Conversation(book), "127.0.0.1", port)
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
