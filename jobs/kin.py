"""A process that works for another ends with it. Ground."""

from __future__ import annotations

import os
import threading
import time

LOOK_SECONDS = 1.0


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
