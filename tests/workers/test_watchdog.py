"""What hangs ends its process; what waits, rests or is paused does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import until
from workers import watchdog as module
from workers.pulse import Pulse
from workers.watchdog import Watchdog, read_report, watched

ROOT = Path(__file__).resolve().parents[2]
HANGS_AFTER = 7  # looks: 5 s, the least, and two periods of 1 s


def looks(watchdog: Watchdog, count: int) -> list[str]:
    """Who hangs, after the last of so many looks."""
    for _ in range(count):
        hanging = watchdog.look()
    return [part.name for part in hanging]


@pytest.fixture
def pulse():
    pulse = Pulse(loop=1.0, taker=1.0)
    pulse.tick("loop")
    pulse.tick("taker")
    return pulse


@pytest.fixture
def watchdog(pulse):
    return Watchdog(pulse, silence_seconds=2.5)


def test_who_has_not_ticked_for_so_many_looks_hangs(watchdog, pulse):
    for _ in range(HANGS_AFTER):
        pulse.tick("loop")
        hanging = watchdog.look()

    assert [part.name for part in hanging] == ["taker"]


def test_one_sign_of_life_begins_the_count_anew(watchdog, pulse):
    assert looks(watchdog, HANGS_AFTER - 2) == []
    pulse.tick("loop")
    pulse.tick("taker")

    assert looks(watchdog, HANGS_AFTER - 2) == []


def test_a_part_that_never_begins_hangs_too():
    assert looks(Watchdog(Pulse(loop=1.0), silence_seconds=2.5), HANGS_AFTER) == ["loop"]


def test_to_be_paused_with_everybody_else_is_one_look_however_long(watchdog, pulse, monkeypatch):
    looks(watchdog, 2)

    monkeypatch.setattr("time.monotonic", lambda: 1e9)

    assert looks(watchdog, 2) == []


def test_who_ticks_seldom_is_given_its_time_and_who_has_ended_is_not_missed():
    pulse = Pulse(pruner=60.0, taker=1.0)
    watchdog = Watchdog(pulse, silence_seconds=30.0)
    pulse.forget("taker")

    assert looks(watchdog, 89) == []
    assert looks(watchdog, 1) == ["pruner"]


def test_what_it_saw_can_be_read_by_others(tmp_path, pulse, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    report = tmp_path / "parts.json"
    assert read_report(report) is None

    with watched(pulse, silence_seconds=30.0, report_to=report):
        until(lambda: read_report(report))
        pulse.trouble("taker", "PostgreSQL: OperationalError")
        until(lambda: read_report(report) == pulse.parts())

    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_half_a_report_is_none(tmp_path):
    report = tmp_path / "parts.json"
    report.write_text('[{"name": "lo')

    assert read_report(report) is None


PROCESS = """
import re, sys, time
from workers import watchdog
from workers.pulse import Pulse
watchdog.SHORTEST_SILENCE_SECONDS = 0.1
pulse = Pulse(loop=0.1)
pulse.tick("loop")
with watchdog.watched(pulse, silence_seconds=0.2):
    watchdog.LOOK_SECONDS = 0.02
    {hang}
"""


def end_of(hang: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROCESS.format(hang=hang)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_process_of_which_a_part_hangs_ends_with_1_and_says_where():
    ended = end_of("time.sleep(1000)")

    assert ended.returncode == 1
    assert "part_hangs" in ended.stdout + ended.stderr
    assert "<string>:10 <module>" in ended.stdout + ended.stderr


def test_a_process_in_which_nobody_can_run_any_more_is_ended_by_the_kernel():
    """Backtracking keeps the interpreter to itself for longer than anybody lives."""
    ended = end_of('re.match(r"(a+)+$", "a" * 60 + "b")')

    assert ended.returncode == -signal.SIGVTALRM
    assert "line 10 in <module>" in ended.stderr, "faulthandler told where"


def test_a_process_that_ends_in_order_is_left_alone():
    assert end_of("pass").returncode == 0


def test_afterwards_no_timer_is_left(pulse):
    with watched(pulse, silence_seconds=30.0):
        pass

    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
