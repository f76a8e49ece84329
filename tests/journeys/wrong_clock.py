"""A program in a process whose clock is wrong: `python -m tests.journeys.wrong_clock HOURS PROGRAM …`.

PROGRAM is a file, or `-m` and a module. Only the clock on the wall is wrong, as on a machine that nobody has set; the
monotonic one, by which waits are measured, goes on as it does there.
"""

from __future__ import annotations

import runpy
import sys
import time
from datetime import UTC, datetime, timedelta

import time_machine
from uuid_utils import compat


def uuid7():
    """Written in Rust, it would ask the kernel."""
    return right_uuid7(nanoseconds=time.time_ns())


if __name__ == "__main__":
    _, hours, *program = sys.argv
    right_uuid7, compat.uuid7 = compat.uuid7, uuid7
    time_machine.travel(datetime.now(UTC) + timedelta(hours=float(hours)), tick=True).start()
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")
