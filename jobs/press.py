"""The press: processes in which templates are read and filled in, one at a time each, within limits that always hold.

A template is a stranger's program. Liquid limits its loops and its output, but not what one filter does to one long
value, nor what the readers of HTML and CSS do to a page that was made to break them: those would hold up, or take down,
the API and every plain mail with it. A process that takes too long is ended, one that takes too much memory gets no
more, and one that crashes is replaced (docs/decisions/0012). Ground; knows no Django.
"""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from jobs import kin
from jobs.errors import Unavailable
from jobs.prints import Flaw, Inspection, Order, Print, Sources

if TYPE_CHECKING:  # else loaded by who has a template: most processes never have one
    from concurrent.futures import Future

    from pebble import ProcessPool

COUNT = 2
TRIES = 2
LIMIT_SECONDS = 3.0  # of one template; an ordinary one takes a few milliseconds
PATIENCE_SECONDS = 20.0  # for all of one call, with those that came before it
MOST_MEMORY_BYTES = 1024**3  # of addresses, of which Python and its libraries take a third
PRELOADED = "jobs.typesetting"

TOO_LONG = f"takes longer than {LIMIT_SECONDS:.0f} s. Make it simpler, or give it less"
BUSY = "Templates take too long just now; nothing was accepted. Ask again, or send fewer at once."
BROKE = "breaks whoever reads it: it is nested too deeply, or makes too much. Make it flatter and shorter"

A = TypeVar("A", Inspection, Print)
log = structlog.get_logger(__name__)
_lock = threading.Lock()
_pool: ProcessPool | None = None


def inspect(sources: Sources) -> Inspection:
    """What the sources need, or what is wrong with them. Raises Unavailable."""
    (found,) = _done([sources], _inspect, Inspection)
    return found


def fill(orders: Sequence[Order]) -> list[Print]:
    """The mail that each order makes, or what stands in its way. Raises Unavailable when all together take too long."""
    return _done(orders, _fill, Print)


def close() -> None:
    """End the processes, whatever they are doing; the next template gets new ones."""
    if _pool is not None:
        _leave(_pool)


def _leave(pool: ProcessPool) -> None:
    """Once, though many threads may find that it is broken."""
    global _pool
    with _lock:
        if _pool is pool:
            _pool = None
            pool.stop()
            pool.join()


def _done(tasks: Sequence[Any], work: Callable[[bytes], bytes], answer: type[A]) -> list[A]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    for _ in range(TRIES):
        pool = _ready()
        try:
            return _done_by(pool, tasks, work, answer, deadline)
        except RuntimeError as error:  # broken: a process was killed while it had nothing to do, or none could be made
            log.warning("press_broken", error=repr(error), cause=repr(error.__cause__))
            _leave(pool)
    raise Unavailable(BUSY, retry_after=5)


def _done_by(
    pool: ProcessPool, tasks: Sequence[Any], work: Callable[[bytes], bytes], answer: type[A], deadline: float
) -> list[A]:
    started = [pool.schedule(work, args=[msgspec.json.encode(task)], timeout=LIMIT_SECONDS) for task in tasks]
    try:
        return [_outcome(future, answer, deadline) for future in started]
    finally:
        for future in started:
            future.cancel()  # does nothing to those that are done


def _outcome(future: Future[bytes], answer: type[A], deadline: float) -> A:
    from pebble import ProcessExpired

    try:
        return msgspec.json.decode(future.result(max(0.0, deadline - time.monotonic())), type=answer)
    except TimeoutError:
        if not future.done():
            raise Unavailable(
                "Templates take too long just now. Ask again, or send fewer at once.", retry_after=5
            ) from None
        log.warning("template_ended", after_seconds=LIMIT_SECONDS)
        return answer(flaws=[Flaw(message=TOO_LONG)])
    except ProcessExpired as error:
        log.warning("template_broke_its_process", exit_code=error.exitcode)
        return answer(flaws=[Flaw(message=BROKE)])


def _ready() -> ProcessPool:
    global _pool
    with _lock:
        if _pool is None:
            _pool = kin.pool(COUNT, preloaded=PRELOADED, move_in=_move_in)
        return _pool


# ── In the processes ──────────────────────────────────────────────────────────────────────────


def _move_in(parent: int) -> None:
    from jobs import typesetting  # noqa: F401 - before the first template, whose time is limited

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, also inside of a library that never comes back to Python
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    kin.follow(parent)


def _inspect(sources: bytes) -> bytes:
    from jobs import typesetting

    return msgspec.json.encode(typesetting.inspect(msgspec.json.decode(sources, type=Sources)))


def _fill(order: bytes) -> bytes:
    from jobs import typesetting

    return msgspec.json.encode(typesetting.fill(msgspec.json.decode(order, type=Order)))
