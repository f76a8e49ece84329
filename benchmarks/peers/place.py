"""Where a peer finds its servers, and what a job of the benchmark is. Told by the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

from benchmarks.tally import Tally

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
SMTP_PORT = int(os.environ.get("BENCH_SMTP_PORT", "0"))
FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))


_lock = threading.Lock()


def tally() -> Tally:
    """This process's; made where the work is done, that is after any fork."""
    with _lock:  # of two threads that come first, one makes it
        return _tally(os.getpid())


@cache
def _tally(pid: int) -> Tally:
    return Tally(FOLDER)


def jobs(count: int) -> Iterator[tuple[str, str]]:
    """(id, recipient), all different."""
    for number in range(count):
        yield str(uuid4()), f"customer{number}@example.org"
