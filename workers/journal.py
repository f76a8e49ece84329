"""The journal: answers of the other side, on this machine's disk until PostgreSQL has them.

Between a reply and its settlement a worker can be killed, and while PostgreSQL is away that time is as long as the
outage. What had been answered would be an unknown. So an answer to a dot is written to a file of its worker's the
moment it is read, and struck out once it is settled. The file outlives the process (kill -9, out of memory), not the
machine: nothing is forced to the disk. Whoever finds a journal that nobody holds any more settles what is in it
(adoption.py).

One JSON line an answer. Its keeper holds a lock on the file (flock) for as long as it lives, paused or not.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from jobs.settlements import Settlement

log = structlog.get_logger(__name__)

SUFFIX = ".journal"
LARGEST_BYTES = 1 << 20  # before the lines that are struck out are left behind in a new file


class Journal:
    """One worker's. Thread-safe. What the disk will not do costs the journal, and not the mail: it is told once."""

    def __init__(self, folder: Path, worker: UUID) -> None:
        self._folder = folder
        self._worker = worker
        self._volume = 0
        self._open: dict[int, bytes] = {}  # lines that are not struck out, by token
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        with self._or_without():
            _make_folder(folder)
            self._begin()

    def write(self, settlement: Settlement) -> None:
        """Keep this answer. It is safe from kill -9 when this returns."""
        try:
            line = _as_line(settlement)
        except (TypeError, ValueError):
            return  # PostgreSQL will refuse it, too, and say so
        with self._lock, self._or_without():
            if self._file is not None:
                self._open[settlement.claim.token] = line
                self._file.write(line)

    def strike(self, tokens: Iterable[int]) -> None:
        """These are settled."""
        with self._lock, self._or_without():
            struck = [token for token in tokens if self._open.pop(token, None) is not None]
            if self._file is None or not struck:
                return
            if not self._open:
                self._file.truncate(0)
            elif self._file.tell() > LARGEST_BYTES:
                self._begin()

    def close(self) -> None:
        """Leave behind what was not settled, or nothing."""
        with self._lock, self._or_without():
            self._end(keep=bool(self._open))

    def _begin(self) -> None:
        """A new volume with what is open; only then the old one goes."""
        self._volume += 1
        file = _locked(self._folder / f"{self._worker}.{self._volume}{SUFFIX}")
        file.write(b"".join(self._open.values()))
        self._end(keep=False)
        self._file = file

    def _end(self, *, keep: bool) -> None:
        file, self._file = self._file, None
        if file is not None:
            if not keep:
                Path(file.name).unlink(missing_ok=True)
            file.close()

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.error("journal_given_up", folder=str(self._folder), error=str(error))
            with suppress(OSError):
                self._end(keep=True)


def journals(folder: Path) -> list[Path]:
    """Those in this folder, of the living and of the dead; none where somebody else could have put them there."""
    return sorted(folder.glob(f"*{SUFFIX}")) if all(map(_is_ours_alone, (folder, folder.parent))) else []


def adopt(path: Path, settle: Callable[[list[Settlement]], None]) -> None:
    """Hand the answers in a journal to `settle` and remove it, if nobody holds it; if that raises, it stays."""
    # Of a pipe or a link nothing is read; and to lock it, some file systems want a file open for writing.
    with suppress(FileNotFoundError), os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a file.")
        if _lock(file) and _is_at(file, path):
            if answers := list(_answers(file)):
                settle(answers)
            path.unlink()


def _make_folder(folder: Path) -> None:
    """Ours alone. PermissionError when it is somebody else's: a folder for temporary files is everybody's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (folder, folder.parent):
        if not _is_ours_alone(each):
            raise PermissionError(f"{each} belongs to, or can be written by, somebody else.")


def _is_ours_alone(folder: Path) -> bool:
    try:
        facts = folder.stat()
    except OSError:
        return False
    return facts.st_uid == os.getuid() and not stat.S_IMODE(facts.st_mode) & 0o022


# ── Files ─────────────────────────────────────────────────────────────────────────────────────


def _locked(path: Path) -> BinaryIO:
    """A new file that is locked; an adopter who came between the two has removed it, and so once more."""
    while True:
        path.touch(mode=0o600)
        file = path.open("ab", buffering=0)
        try:
            if _lock(file) and _is_at(file, path):
                return file
        except OSError:  # a file system without locks
            path.unlink(missing_ok=True)
            raise
        file.close()


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


# ── Lines ─────────────────────────────────────────────────────────────────────────────────────


def _as_line(settlement: Settlement) -> bytes:
    """Without the payload: a settlement does not need it."""
    return msgspec.json.encode(replace(settlement, claim=replace(settlement.claim, payload={}))) + b"\n"


def _answers(file: BinaryIO) -> Iterator[Settlement]:
    for line in file:
        try:
            yield msgspec.json.decode(line, type=Settlement)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            # Torn when its writer died, or written by another release: what it was about is an unknown, as before.
            log.warning("journal_line_unreadable", path=file.name, error=type(error).__name__)
