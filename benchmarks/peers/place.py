"""Where a peer finds its servers, and what a job of the benchmark is. Told by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

from benchmarks.tally import Tally

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
SMTP_PORT = int(os.environ.get("BENCH_SMTP_PORT", "0"))
FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))


@cache
def tally() -> Tally:
    """This process's; made where the work is done, that is after any fork."""
    return Tally(FOLDER)


def jobs(count: int) -> Iterator[tuple[str, str]]:
    """(id, recipient), all different."""
    for number in range(count):
        yield str(uuid4()), f"customer{number}@example.org"
