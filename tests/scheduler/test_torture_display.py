"""What a person sees of a run: lines now and then in a log, a moving picture at a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from scheduler.torture import display as module
from scheduler.torture.display import Display
from scheduler.torture.evidence import Event
from scheduler.torture.trial import Scene
from scheduler.torture.verdict import judge
from tests.scheduler.made_up_run import good_run

KILL = Event("kill-worker", "worker 2", at=1000.0, pid=7)


@pytest.fixture
def scene() -> Scene:
    counts = {"completed": 40, "queued": 2, "running": 3, "unknown": 1, "failed": 4}
    return Scene(7, "jobs come in", began=1.0, seconds=0.0, offered=60, accepted=50, standing=counts, kept=41, kills=2)


@pytest.fixture
def log() -> StringIO:
    return StringIO()


def plain(log: StringIO) -> Console:
    return Console(file=log, force_terminal=False, width=200)


def test_a_log_gets_one_line_for_each_phase_and_then_only_now_and_then(log, scene):
    with Display(plain(log)) as display:
        for _ in range(10):
            display.show(scene)
        scene.phase = "the rest arrives"
        display.show(scene)

    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("seed 7  jobs come in (the last of both): accepted 50, at server 41, completed 40, ")
    assert lines[0].endswith("waiting 5, unknown 1, dead 4, kills 2")


def test_a_log_gets_another_line_when_time_has_passed(log, scene, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with Display(plain(log)) as display:
        display.show(scene)
        display.show(scene)

    assert len(log.getvalue().splitlines()) == 2


def test_events_are_told_when_they_happen_and_when_they_are_undone(log):
    with Display(plain(log)) as display:
        display.tell(KILL)
        display.tell(Event("kill-worker", "worker 2", at=1000.0, over_at=1001.5))

    told, undone = log.getvalue().splitlines()
    assert told.endswith("kill-worker       worker 2")
    assert undone.endswith("kill-worker       worker 2, undone after 1.5 s")


def test_a_verdict_is_told_as_soon_as_there_is_one(log):
    run = good_run()
    run.evidence.mails.pop(0)
    with Display(plain(log)) as display:
        display.tell_verdict(judge(good_run().evidence))
        display.tell_verdict(judge(run.evidence))

    assert log.getvalue().splitlines() == ["Seed 1: passed (0 s)", "Seed 1: 2 lost (0 s)"]


def test_at_a_terminal_the_picture_moves_and_leaves_nothing_behind(log, scene):
    terminal = Console(file=log, force_terminal=True, width=100, legacy_windows=False)
    with Display(terminal) as display:
        display.show(scene)
        display.tell(KILL)
        display.show(scene)

    assert "Seed 7" in log.getvalue()
    assert "worker 2" in log.getvalue()
    assert log.getvalue().endswith("\x1b[2K")  # the last line of the picture is erased
