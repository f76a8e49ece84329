"""A worker like any other, but for a channel that carries `nothing` nowhere: what is left is the protocol itself.

python -m benchmarks.ours.worker
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django

from benchmarks.tally import Tally


def main() -> int:
    django.setup()
    from jobs.conf import tunables
    from jobs.states import Priority
    from workers.worker import Worker, collect_garbage_seldom

    channel = Nowhere(Tally(Path(os.environ["BENCH_FOLDER"])))
    worker = Worker(
        priorities=list(Priority),
        concurrency=tunables().worker_concurrency,
        channels=lambda: {"nothing": channel},
    )
    collect_garbage_seldom()
    return worker.run()


class Nowhere:
    """Claimed, gated and settled like every channel's jobs; not marked, for it may be repeated. Its own line."""

    may_be_repeated = True
    provider = "nowhere"

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def prepare(self, claim: object) -> object:
        self._tally.begin()
        return claim

    def connect(self, parcel: object) -> Nowhere:
        return self

    async def __aenter__(self) -> Nowhere:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def offer(self, parcel: object) -> None: ...

    async def commit(self):
        from workers.channels.base import Receipt

        self._tally.done()
        return Receipt(provider=self.provider, code=250, detail="", message_id="")

    async def close(self) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
