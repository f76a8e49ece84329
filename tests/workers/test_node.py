"""A node keeps its worker processes alive, passes signals on, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from scheduler.embedded.child import Child, wait_for
from scheduler.embedded.guardian import is_running

ROOT = Path(__file__).resolve().parents[2]

NODE = """
import sys
from workers.node import Node
sys.exit(Node(processes=2, command=sys.argv[1:], metrics_port=None).run())
"""
# Writes down that it started and what it hears; ends on its second signal, or when its parent is gone.
WORKER = """
import os, signal, sys
from pathlib import Path
diary = Path(sys.argv[1], str(os.getpid()))
heard = []
def hear(number, frame):
    heard.append(number)
    diary.write_text(" ".join(map(str, heard)))
    if len(heard) == int(sys.argv[2]):
        os._exit(3 if number == signal.SIGTERM else 4)
signal.signal(signal.SIGTERM, hear)
assert sys.argv[3] == "--follow-stdin"
diary.write_text("")
while os.read(0, 1):
    pass
diary.write_text("orphaned")
"""
PATIENCE_SECONDS = 20.0


def until(condition):
    assert wait_for(condition, within=PATIENCE_SECONDS)


class ANode:
    """A node in a process of its own, with two processes that only keep a diary."""

    def __init__(self, folder: Path, *, ends_on_signal: int) -> None:
        self.diaries = folder / "diaries"
        self.diaries.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        worker = folder / "worker.py"
        worker.write_text(WORKER)
        self.process = Child(
            "node",
            [sys.executable, "-c", NODE, worker, self.diaries, str(ends_on_signal)],
            log=folder / "node.log",
            env=os.environ | {"TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        self.process.start()
        until(lambda: len(self.living()) == 2)

    def living(self) -> set[int]:
        return {int(diary.name) for diary in self.diaries.iterdir() if is_running(int(diary.name))}

    def diary_of(self, pid: int) -> str:
        return (self.diaries / str(pid)).read_text()

    def kill_all(self) -> None:
        self.process.kill()
        for pid in self.living():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def a_node(tmp_path):
    nodes = []

    def start(*, ends_on_signal: int) -> ANode:
        nodes.append(ANode(tmp_path, ends_on_signal=ends_on_signal))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill_all()


def test_a_process_that_dies_is_started_again_and_the_other_one_is_left_alone(a_node):
    node = a_node(ends_on_signal=1)
    victim, other = sorted(node.living())

    os.kill(victim, signal.SIGKILL)
    until(lambda: len(node.living() - {victim}) == 2)

    assert other in node.living()
    assert node.diary_of(other) == ""


def test_the_end_is_passed_on_and_the_worst_exit_code_tells_how_it_went(a_node):
    node = a_node(ends_on_signal=1)
    processes = node.living()

    node.process.ask_to_stop(signal.SIGTERM)
    until(lambda: not node.process.is_running)

    assert node.process.returncode == 3
    assert {node.diary_of(pid) for pid in processes} == {str(int(signal.SIGTERM))}
    assert node.living() == set()
    assert list(node.temporary.iterdir()) == []


def test_a_second_signal_reaches_the_processes_too(a_node):
    node = a_node(ends_on_signal=2)
    processes = node.living()

    node.process.ask_to_stop(signal.SIGTERM)
    until(lambda: all(node.diary_of(pid) == "15" for pid in processes))
    node.process.ask_to_stop(signal.SIGINT)
    until(lambda: not node.process.is_running)

    assert {node.diary_of(pid) for pid in processes} == {"15 15"}


def test_a_killed_node_leaves_no_process(a_node):
    node = a_node(ends_on_signal=1)
    processes = node.living()

    os.kill(node.process.pid, signal.SIGKILL)
    until(lambda: not node.living())

    assert {node.diary_of(pid) for pid in processes} == {"orphaned"}
