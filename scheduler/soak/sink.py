"""The SMTP server of a run, in a process of its own: the fault kit without faults, and a book of 16 bytes a mail.

python -m scheduler.soak.sink --port 25025 --tally FILE
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import Counter
from io import RawIOBase
from pathlib import Path
from uuid import UUID

from scheduler.embedded.faulty_smtp import Book, FaultySmtp, Mail

HEADER = b"X-Job-ID: "
ID_BYTES = 16
NOBODY = bytes(ID_BYTES)  # a mail that names no job


class Tally(Book):
    """Appends the job of each mail that was kept, before the 250 is given. A process that is killed loses none."""

    def __init__(self, file: RawIOBase) -> None:
        super().__init__()
        self._file = file

    def hear(self, command: str) -> None:
        pass

    def finish(self, mail: Mail) -> None:
        if mail.kept:
            self._file.write(job_of(mail.body))

    def settle(self, mail: Mail, answer: str) -> None:
        pass

    def abandon(self, body: bytes) -> None:
        pass


def job_of(body: bytes) -> bytes:
    """The header parser of the standard library would take longer than all the rest."""
    start = body.find(HEADER, 0, body.find(b"\r\n\r\n")) + len(HEADER)
    try:
        return UUID(body[start : start + 36].decode()).bytes
    except ValueError:
        return NOBODY


def count(tally: Path) -> int:
    return tally.stat().st_size // ID_BYTES if tally.exists() else 0


def read(tally: Path) -> Counter[bytes]:
    """How many copies of each job were taken."""
    data = tally.read_bytes()
    return Counter(data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES))


async def serve(port: int, tally: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tally.open("ab", buffering=0) as file:
        async with FaultySmtp(port=port, book=Tally(file)):
            await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An SMTP server that only counts. `manage.py soak` starts it.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tally", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.tally))


if __name__ == "__main__":
    main()
