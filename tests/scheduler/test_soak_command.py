"""`manage.py soak` as a process: a short run that passes, and one that is stopped; nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from scheduler.embedded.child import wait_for

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "trouble"),
    [
        (["--minutes", "0.1"], "'0.1' is not a number from 0.3 to"),
        (["--minutes", "nan"], "'nan' is not a number from 0.3 to"),
        (["--rate", "fast"], "'fast' is not a number from 0.5 to 10000"),
        (["--workers", "0"], "'0' is not a whole number from 1 to 64"),
        (["--restart-every", "1"], "'1' is not a number from 2 to 86400"),
        (["--seed", "-1"], "'-1' is not a whole number from 0"),
        (["--json", "no/such/folder/found.json"], "cannot be written; give a file in a folder that exists"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(arguments, trouble):
    with pytest.raises(CommandError, match=trouble):
        call_command("soak", *arguments)


class Soak:
    """The command in a session of its own, with a folder of its own for what is temporary."""

    def __init__(self, tmp_path: Path, *arguments: str) -> None:
        self.temporary = tmp_path / "tmp"
        self.temporary.mkdir()
        self.log = tmp_path / "said"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "soak", *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(self.temporary), "DEBUG": "true"},
                start_new_session=True,
            )
        self._family: set[psutil.Process] = set()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def says(self, words: str) -> bool:
        """Whether it has said so; meanwhile its children are remembered."""
        if self.process.poll() is None:
            self._family |= set(psutil.Process(self.process.pid).children(recursive=True))
        return words in self.said or self.process.poll() is not None

    def left(self) -> list[psutil.Process]:
        return [process for process in self._family if process.is_running() and process.status() != "zombie"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for process in self.left():
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_soak_passes_and_tells_what_it_saw(tmp_path):
    found = tmp_path / "found.json"
    options = "--minutes 0.35 --rate 8 --workers 2 --restart-every 6 --seed 3"
    soak = Soak(tmp_path, *options.split(), "--json", str(found))
    try:
        wait_for(lambda: soak.says("what still waits arrives"), within=200)
        assert soak.process.wait(timeout=90) == 0, soak.said
        assert wait_for(lambda: not soak.left(), within=20)
    finally:
        soak.end()

    told = json.loads(found.read_text())
    assert told["passed"] is True
    assert told["balance"]["sent_once"] == told["balance"]["accepted"] == told["balance"]["rows"] > 100
    assert told["statuses"] == {"202": told["balance"]["accepted"]}
    assert {restart["process"] for restart in told["restarts"]} == {"worker 2"}
    names = {process["name"] for process in told["samples"][-1]["processes"]}
    assert names >= {"api 1", "worker 1", "scheduler 1", "scheduler 2", "PostgreSQL", "Valkey", "SMTP server"}
    assert {bound["holds"] for bound in told["bounds"] if bound["name"].startswith("memory")} == {None}
    assert "PASSED: nothing twice, nothing lost" in soak.said
    assert list(soak.temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_soak_that_is_stopped_leaves_nothing_behind(tmp_path):
    soak = Soak(tmp_path, *["--minutes", "10", "--rate", "5", "--workers", "1", "--restart-every", "3"])
    try:
        assert wait_for(lambda: soak.says("accepted"), within=200)
        soak.process.send_signal(signal.SIGINT)
        assert soak.process.wait(timeout=90) == 128 + signal.SIGINT, soak.said
        assert wait_for(lambda: not soak.left(), within=20)
    finally:
        soak.end()

    assert "Stopped; nothing is left behind." in soak.said
    assert list(soak.temporary.iterdir()) == []
