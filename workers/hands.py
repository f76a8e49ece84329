"""The processes in which handlers run, one job each.

A handler is somebody else's code: it may block, spin, leak or crash. In a process of its own it does that to nobody
else, and can be ended (docs/decisions/0010). The pool is Pebble's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as PoolTimeout
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct

from jobs import kin
from workers import tasks
from workers.tasks import Ending, Errand, How

if TYPE_CHECKING:  # else loaded by who has an errand: most workers never have one
    from pebble import ProcessPool

GRACE_SECONDS = 1.0  # beyond its limit, for a handler that notices itself
CLOSE_SECONDS = 5.0
PRELOADED = "workers.hand"

log = structlog.get_logger(__name__)


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
        try:
            pool = await self._ready()
            under_way: Future[bytes] = pool.schedule(work, args=[msgspec.json.encode(asked)], timeout=limit)
        except (RuntimeError, OSError) as error:  # it broke just now, or no process can be made: nothing has begun
            log.warning("hands_broken", error=repr(error), cause=repr(error.__cause__))
            return Ending(how=How.TRANSIENT, detail="No process could be had for it.", kind="no_process")
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
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            await asyncio.to_thread(pool.join, CLOSE_SECONDS)

    async def _ready(self) -> ProcessPool:
        """A pool of which a process was killed while it had nothing to do (out of memory, say) is broken for good."""
        if self._pool is not None and not self._pool.active:
            log.warning("hands_replaced")
            await self.close()
        if self._pool is None:
            self._pool = kin.pool(self._count, preloaded=PRELOADED, move_in=tasks.move_in)
        return self._pool
