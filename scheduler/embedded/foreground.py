"""Runs a command as the terminal's foreground, as a shell does: `python -m scheduler.embedded.foreground manage.py …`.

Without it, Ctrl-C in `make run` reaches make as well, which then dies of it and reports 130 although
everything below was stopped in order. So the command gets a process group of its own, and we wait for
it here, in make's group, and pass on signals that are sent to us. Without a terminal we just become it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    command = [sys.executable, *arguments, "--stop-with-parent"]
    if not _owns_terminal():
        os.execv(sys.executable, command)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else handing over the terminal would stop us
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # nobody would wake us: make does no job control
    child = subprocess.Popen(command, process_group=0)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    terminal = os.open("/dev/tty", os.O_RDWR)
    try:
        os.tcsetpgrp(terminal, child.pid)
        return child.wait()
    finally:
        os.tcsetpgrp(terminal, os.getpgrp())


def _owns_terminal() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
