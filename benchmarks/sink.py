"""The SMTP server of all contenders: takes every mail, says 250, and remembers whose it was.

    python -m benchmarks.sink --port 25025 --folder DIR [--no-pipelining] [--delay-ms 50]

One process, a few dozen microseconds a mail, so that what is measured is who sends and not who receives. `--delay-ms`
holds back each answer, as a server far away does. Each mail has to carry `X-Job-ID: <uuid>`; the 16 bytes of
each go into DIR/ids before the 250, and the time of its MAIL (8 bytes, seconds since 1970) into DIR/begun. Standard
library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
ID_BYTES = 16
NOBODY = bytes(ID_BYTES)  # a mail that names no job
TIME = struct.Struct("=d")


class Book:
    """What has arrived, written before it is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._ids: IO[bytes] = (folder / "ids").open("ab", buffering=0)
        self._begun: IO[bytes] = (folder / "begun").open("ab", buffering=0)
        self._tally = Tally(folder)
        self.begin = self._tally.begin

    def close(self) -> None:
        self._ids.close()
        self._begun.close()

    def take(self, body: bytes, begun_at: float) -> None:
        start = body.find(HEADER) + len(HEADER)
        try:
            job = UUID(body[start : start + 36].decode()).bytes
        except ValueError:
            job = NOBODY
        self._begun.write(TIME.pack(begun_at))
        self._ids.write(job)
        self._tally.done()


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, book: Book, *, pipelining: bool, delay_seconds: float) -> None:
        self._book = book
        self._hello = (
            b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n" if pipelining else b"250-sink\r\n250 8BITMIME\r\n"
        )
        self._delay = delay_seconds
        self._buffer = bytearray()
        self._in_body = False
        self._begun_at = 0.0
        self._looked_at = 0  # so much of the buffer holds no end of a body
        self._held_back: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._say([b"220 sink ESMTP\r\n"])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answers: list[bytes] = []
        while self._take_body(answers) if self._in_body else self._take_command(answers):
            pass
        self._say(answers)

    def _take_body(self, answers: list[bytes]) -> bool:
        end = self._buffer.find(END, self._looked_at)
        if end < 0:
            self._looked_at = max(0, len(self._buffer) - len(END) + 1)
            return False
        self._book.take(bytes(self._buffer[:end]), self._begun_at)
        self._drop(end + len(END))
        self._in_body = False
        answers.append(b"250 2.0.0 taken\r\n")
        return True

    def _take_command(self, answers: list[bytes]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        verb = bytes(self._buffer[:4]).upper()
        self._drop(end + 1)
        if verb == b"DATA":
            self._in_body = True
            answers.append(b"354 go on\r\n")
        elif verb in (b"EHLO", b"HELO"):
            answers.append(self._hello)
        elif verb == b"QUIT":
            answers.append(b"221 2.0.0 bye\r\n")
        else:
            if verb == b"MAIL":
                self._book.begin()
                self._begun_at = time.time()
            answers.append(b"250 2.0.0 ok\r\n")
        return True

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._looked_at = 0

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
    data = (folder / "ids").read_bytes() if (folder / "ids").exists() else b""
    return Counter(data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES))


def read_begun(folder: Path) -> dict[UUID, float]:
    """When each job's MAIL was heard (time.time()); of several the last."""
    ids, times = (folder / "ids").read_bytes(), (folder / "begun").read_bytes()
    jobs = (UUID(bytes=ids[at : at + ID_BYTES]) for at in range(0, len(ids), ID_BYTES))
    return dict(zip(jobs, (at for (at,) in TIME.iter_unpack(times)), strict=False))


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
    with contextlib.closing(Book(options.folder)) as book:
        asyncio.run(
            serve(
                options.port,
                book,
                pipelining=not options.no_pipelining,
                delay_seconds=options.delay_ms / 1000,
            )
        )


if __name__ == "__main__":
    main()
