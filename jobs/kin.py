"""Processes that work for another, and end with it. Ground."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # else loaded by who has work for one
    from pebble import ProcessPool

LOOK_SECONDS = 1.0


def pool(count: int, *, preloaded: str, move_in: Callable[[int], None]) -> ProcessPool:
    """Up to `count` processes, each of which calls `move_in` with our process id first.

    They are forked by a process that has the module `preloaded` and no threads: a fork of our own would copy locks that
    ours hold.
    """
    from pebble import ProcessPool

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preloaded])
    return ProcessPool(max_workers=count, initializer=move_in, initargs=[os.getpid()], context=context)


def follow(parent: int) -> None:
    """From now on this process ends, whatever it does, within a second of the process `parent`, which has to answer to
    nobody else: one that was killed could not say goodbye."""
    threading.Thread(target=_follow, args=[parent], name="follow-parent", daemon=True).start()


def _follow(parent: int) -> None:
    while _lives(parent):
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
