"""A worker like any other, but for a channel that carries `nothing` nowhere: what is left is the protocol itself.

python -m benchmarks.ours.worker
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import django

from benchmarks.tally import Tally


def main() -> int:
    django.setup()
    from jobs.conf import tunables
    from jobs.states import Priority
    from workers.worker import Worker

    channel = Nowhere(Tally(Path(os.environ["BENCH_FOLDER"])))
    worker = Worker(
        priorities=list(Priority),
        concurrency=tunables().worker_concurrency,
        channels=lambda: {"nothing": channel},
    )
    return worker.run()


class Nowhere:
    """Gate, mark and settlement as for every channel."""

    provider = "nowhere"

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def prepare(self, claim: object) -> object:
        self._tally.begin()
        return claim

    @asynccontextmanager
    async def connect(self, parcel: object) -> AsyncIterator[Nowhere]:
        yield self

    async def offer(self, parcel: object) -> None:
        pass

    async def commit(self):
        from workers.channels.base import Receipt

        self._tally.done()
        return Receipt(provider=self.provider, code=250, detail="", message_id="")

    async def close(self) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
