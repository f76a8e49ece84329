"""The SMTP server of all contenders: takes every mail, says 250, and remembers whose it was.

    python -m benchmarks.sink --port 25025 --folder DIR [--no-pipelining] [--delay-ms 50]

One process and little work a mail, so that what is measured is who sends and not who receives. `--delay-ms` holds back
each answer, as a server far away does. Each mail has to carry `X-Job-ID: <uuid>`; its 16 bytes and the time of its MAIL
(8 bytes, seconds since 1970) go into DIR/mails before the 250. Standard library, and uvloop where it is installed, as
in the peers' venv.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import signal
import struct
import time
from collections import Counter, deque
from pathlib import Path
from typing import IO, cast
from uuid import UUID

from benchmarks.tally import Tally

HEADER = b"X-Job-ID: "
END = b"\r\n.\r\n"
NOBODY = bytes(16)  # a mail that names no job
MAIL = struct.Struct("=16sd")  # whose it was, and when it was begun


class Book:
    """What has arrived, written before it is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._mails: IO[bytes] = (folder / "mails").open("ab", buffering=0)
        self._tally = Tally(folder)
        self.begin = self._tally.begin

    def close(self) -> None:
        self._mails.close()

    def take(self, data: bytes, start: int, end: int, begun_at: float) -> None:
        """The mail in data[start:end]."""
        at = data.find(HEADER, start, end) + len(HEADER)
        try:
            job = bytes.fromhex(data[at : at + 36].replace(b"-", b"").decode())
        except ValueError:
            job = NOBODY
        self._mails.write(MAIL.pack(job if len(job) == len(NOBODY) else NOBODY, begun_at))
        self._tally.done()


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, book: Book, *, pipelining: bool, delay_seconds: float) -> None:
        self._book = book
        self._hello = (
            b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n" if pipelining else b"250-sink\r\n250 8BITMIME\r\n"
        )
        self._delay = delay_seconds
        self._rest = b""  # half a line, or a body without its end
        self._looked_at = 0  # so much of it holds no end of a body
        self._in_body = False
        self._begun_at = 0.0
        self._held_back: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._say([b"220 sink ESMTP\r\n"])

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at, answers = 0, []
        while (end := self._end(data, at)) >= 0:
            if self._in_body:
                self._book.take(data, at, end, self._begun_at)
                self._in_body = False
                answers.append(b"250 2.0.0 taken\r\n")
                at = end + len(END)
            else:
                answers.append(self._answer(data[at : at + 4].upper()))
                at = end + 1
        self._rest = data[at:] if at < len(data) else b""
        self._looked_at = max(0, len(self._rest) - len(END) + 1)
        self._say(answers)

    def _end(self, data: bytes, at: int) -> int:
        return data.find(END, at + (self._looked_at if not at else 0)) if self._in_body else data.find(b"\n", at)

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"DATA":
            self._in_body = True
            return b"354 go on\r\n"
        if verb in (b"EHLO", b"HELO"):
            return self._hello
        if verb == b"QUIT":
            return b"221 2.0.0 bye\r\n"
        if verb == b"MAIL":
            self._book.begin()
            self._begun_at = time.time()
        return b"250 2.0.0 ok\r\n"

    def _say(self, answers: list[bytes]) -> None:
        if not answers:
            return
        words = b"".join(answers)
        if not self._delay:
            self._transport.write(words)
            return
        self._held_back.append(words)
        asyncio.get_running_loop().call_later(self._delay, self._say_next)

    def _say_next(self) -> None:
        self._transport.write(self._held_back.popleft())


def read(folder: Path) -> Counter[bytes]:
    """How many copies of each job's mail were taken."""
    return Counter(job for job, _ in _mails(folder))


def read_begun(folder: Path) -> dict[UUID, float]:
    """When each job's MAIL was heard (time.time()); of several the last."""
    return {UUID(bytes=job): at for job, at in _mails(folder)}


def _mails(folder: Path) -> list[tuple[bytes, float]]:
    book = folder / "mails"
    return list(MAIL.iter_unpack(book.read_bytes())) if book.exists() else []


async def serve(port: int, book: Book, *, pipelining: bool, delay_seconds: float) -> None:
    """Until SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: Session(book, pipelining=pipelining, delay_seconds=delay_seconds), "127.0.0.1", port, backlog=512
    )
    async with server:
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--no-pipelining", action="store_true")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    run = importlib.import_module("uvloop").run if importlib.util.find_spec("uvloop") else asyncio.run
    with contextlib.closing(Book(options.folder)) as book:
        run(
            serve(
                options.port,
                book,
                pipelining=not options.no_pipelining,
                delay_seconds=options.delay_ms / 1000,
            )
        )


if __name__ == "__main__":
    main()
