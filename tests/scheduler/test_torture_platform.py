"""A process of the platform: who ended it is known, and whoever fell is started again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scheduler.embedded.child import Child, wait_for
from scheduler.torture.platform import Process, Role

WORK = "import time\nwhile True: time.sleep(0.1)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(Role.WORKER, 2, Child("worker 2", [sys.executable, "-c", WORK], log=tmp_path / "worker-2.log"))
    process.start()
    yield process
    process.kill()


def status(process: Process) -> str:
    return psutil.Process(process.pid).status()


def test_it_is_known_by_role_and_number(process):
    assert str(process) == "worker 2"


def test_one_that_ends_by_itself_has_fallen_and_is_started_again(process):
    first = process.pid
    psutil.Process(first).kill()
    assert wait_for(lambda: process.has_fallen, within=30)

    process.revive()

    assert process.is_running
    assert not process.has_fallen
    assert process.pid != first


def test_one_that_was_killed_on_purpose_has_not_fallen_and_stays_down(process):
    process.kill()

    process.revive()

    assert not process.has_fallen
    assert not process.is_running


def test_one_that_was_told_to_stop_has_not_fallen(process):
    process.ask_to_stop()
    assert wait_for(lambda: not process.is_running, within=30)

    assert not process.has_fallen


def test_a_restart_gives_it_another_pid(process):
    first = process.pid

    process.restart()

    assert process.is_running
    assert process.pid != first


def test_a_restart_asks_once_for_a_second_signal_ends_the_drain(process, monkeypatch):
    kill, signals = os.kill, []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number) or kill(pid, number))

    process.restart()

    assert signals == [signal.SIGTERM]


def test_a_paused_one_is_there_and_does_nothing(process):
    process.pause()
    assert wait_for(lambda: status(process) == psutil.STATUS_STOPPED, within=30)
    assert process.is_running

    process.resume()

    assert wait_for(lambda: status(process) != psutil.STATUS_STOPPED, within=30)
