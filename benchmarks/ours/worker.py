"""A worker like any other, but for a channel that carries `nothing` nowhere: what is left is the protocol itself.

python -m benchmarks.ours.worker [--processes 2] [--concurrency 1024]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import django

from benchmarks.tally import Tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--follow-stdin", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--report-to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processes > 1:
        from workers.node import Node

        command = ["-m", "benchmarks.ours.worker", "--concurrency", str(options.concurrency)]
        return Node(processes=options.processes, command=command, metrics_port=None).run()
    return work(options.concurrency, follow=sys.stdin.fileno() if options.follow_stdin else None)


def work(concurrency: int, *, follow: int | None) -> int:
    django.setup()
    from jobs.states import Priority
    from workers.worker import Worker, collect_garbage_seldom

    channel = Nowhere(Tally(Path(os.environ["BENCH_FOLDER"])))
    worker = Worker(
        priorities=list(Priority),
        concurrency=concurrency,
        channels=lambda: {"nothing": channel},
    )
    collect_garbage_seldom()
    return worker.run(follow=follow)


class Nowhere:
    """Claimed, gated and settled like every channel's jobs; not marked, for it may be repeated. Its own line."""

    may_be_repeated = True
    provider = "nowhere"

    def __init__(self, tally: Tally) -> None:
        from workers.channels.base import Route

        self._tally = tally
        self._routes = (Route("task", self.provider, may_fail=False),)

    def prepare(self, claim: object) -> object:
        self._tally.begin()
        return claim

    def routes(self, parcel: object):
        return self._routes

    def connect(self, parcel: object, route: object) -> Nowhere:
        return self

    async def __aenter__(self) -> Nowhere:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def offer(self, parcel: object) -> None: ...

    async def commit(self):
        from workers.channels.base import Receipt

        self._tally.done()
        return Receipt(provider=self.provider, code=None, detail="")

    async def close(self) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
