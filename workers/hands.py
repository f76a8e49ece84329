"""The processes in which handlers run, one job each.

A handler is somebody else's code: it may block, spin, leak or crash. In a process of its own it does that to nobody
else, and can be ended (docs/decisions/0010). The pool is Pebble's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as PoolTimeout
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from workers import tasks
from workers.tasks import Ending, Errand, How

if TYPE_CHECKING:  # else loaded by who has an errand: most workers never have one
    from pebble import ProcessPool

GRACE_SECONDS = 1.0  # beyond its limit, for a handler that notices itself
CLOSE_SECONDS = 5.0
PRELOADED = "workers.hand"


class Hands:
    """Up to `count` processes, made when the first errand comes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPool | None = None

    async def carry_out(self, errand: Errand) -> Ending:
        """What came of it; see `do`."""
        return await self.do(tasks.carry_out, errand, limit_seconds=errand.limit_seconds)

    async def do(self, work: Callable[[bytes], bytes], asked: Struct, *, limit_seconds: float) -> Ending:
        """Call `work`, in a process, with what is asked for as JSON; it returns an Ending, also as JSON. What came of
        it, also when its process was ended at the limit or died. Who is cancelled while waiting ends the process."""
        from pebble import ProcessExpired

        limit = limit_seconds + GRACE_SECONDS
        under_way: Future[bytes] = self._ready().schedule(work, args=[msgspec.json.encode(asked)], timeout=limit)
        try:
            ending = await asyncio.wrap_future(under_way)
        except PoolTimeout:
            return tasks.LATE
        except ProcessExpired as error:
            told = f"The handler's process ended with exit code {error.exitcode}."
            return Ending(how=How.UNDONE, detail=told, kind="handler_died")
        return msgspec.json.decode(ending, type=Ending)

    async def close(self) -> None:
        """End them all, whatever they are doing."""
        if self._pool is not None:
            self._pool.stop()
            await asyncio.to_thread(self._pool.join, CLOSE_SECONDS)
            self._pool = None

    def _ready(self) -> ProcessPool:
        if self._pool is None:
            from pebble import ProcessPool

            # Forked by a process that has Django and no threads: a fork of our own would copy locks that ours hold.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([PRELOADED])
            self._pool = ProcessPool(
                max_workers=self._count, initializer=tasks.move_in, initargs=[os.getpid()], context=context
            )
        return self._pool
