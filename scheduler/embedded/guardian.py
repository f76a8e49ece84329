"""Ends what a killed process left behind: a separate process that outlives its parent by a moment.

The parent writes one line per child on our standard input (`watch PID SIGNAL RANK`, `forget PID`,
`remove FOLDER`). When the pipe closes, whatever is still watched is stopped, highest rank first.
A pipe works on every Unix and whatever user a child runs as; a parent-death signal does neither.
Runs as a plain script (`python -I -S guardian.py`), so it imports the standard library only.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

GRACE_SECONDS = 10.0


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie: an orphan may wait long for its reaper."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - keep this script's imports few
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return not os.path.isdir("/proc/self")  # noqa: PTH112


def _send(pid: int, number: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)


def _listen() -> tuple[dict[int, tuple[int, int]], list[str]]:
    """What was watched, and the folders to remove, once the parent is gone."""
    watched: dict[int, tuple[int, int]] = {}
    folders: list[str] = []
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "watch":
            pid, number, rank = map(int, rest.split())
            watched[pid] = (rank, number)
        elif word == "forget":
            watched.pop(int(rest), None)
        elif word == "remove":
            folders.append(rest)
    return watched, folders


def _end(pids: dict[int, int]) -> None:
    for pid, number in pids.items():
        _send(pid, number)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(map(is_running, pids)):
        time.sleep(0.05)
    for pid in pids:
        _send(pid, signal.SIGKILL, group=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the pipe is our only order
    watched, folders = _listen()
    for rank in sorted({rank for rank, _ in watched.values()}, reverse=True):
        _end({pid: number for pid, (own, number) in watched.items() if own == rank})
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
