"""A child process is awaited by a condition and ended for certain."""

from __future__ import annotations

import sys
import time

import pytest

from scheduler.embedded.child import CannotStart, Child, wait_for
from scheduler.embedded.guardian import is_running

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
sys.stdout.write(f"{grandchild.pid}\\n"); sys.stdout.flush()
time.sleep(60)
"""


def child(tmp_path, code):
    return Child("the child", [sys.executable, "-c", code], log=tmp_path / "child.log")


def test_one_that_dies_while_awaited_is_reported_with_its_last_words(tmp_path):
    dying = child(tmp_path, "raise SystemExit('no such port')")
    dying.start()

    with pytest.raises(CannotStart, match=r"exit status 1(.|\n)*no such port"):
        dying.wait_until(lambda: False, within=10)


def test_one_that_is_never_ready_is_given_up(tmp_path):
    slow = child(tmp_path, "import time; time.sleep(60)")
    slow.start()

    with pytest.raises(CannotStart, match="not ready within"):
        slow.wait_until(lambda: False, within=0.1)
    slow.kill()


def test_words_of_an_earlier_start_are_not_repeated(tmp_path):
    (tmp_path / "child.log").write_text("an old trouble\n")
    dying = child(tmp_path, "raise SystemExit('a new trouble')")
    dying.start()

    with pytest.raises(CannotStart) as trouble:
        dying.finish(within=10)

    assert "a new trouble" in str(trouble.value)
    assert "an old trouble" not in str(trouble.value)


def test_one_that_ignores_sigterm_is_killed_with_its_own_children(tmp_path):
    stubborn = child(tmp_path, STUBBORN)
    stubborn.start()
    stubborn.wait_until(lambda: "\n" in stubborn.log.read_text(), within=10)
    grandchild = int(stubborn.log.read_text())

    stubborn.stop(within=0.2)

    assert not stubborn.is_running
    assert wait_for(lambda: not is_running(grandchild), within=5)


def test_in_a_hurry_nobody_waits(tmp_path):
    stubborn = child(tmp_path, STUBBORN)
    stubborn.start()
    stubborn.wait_until(lambda: "\n" in stubborn.log.read_text(), within=10)
    started = time.monotonic()

    stubborn.stop(within=60, hurry=lambda: True)

    assert not stubborn.is_running
    assert time.monotonic() - started < 10
