"""make torture, with a short seed: it passes, it can convict, and however it ends, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduler.embedded.child import wait_for
from scheduler.torture.evidence import Evidence
from scheduler.torture.faults import CHAOS

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--jobs", "60", "--minutes", "0.4", "--seed", "2")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def environment(folder: Path) -> dict[str, str]:
    """Everything that a run starts carries the folder in its environment."""
    folder.mkdir(exist_ok=True)
    return os.environ | {"DEBUG": "true", "TMPDIR": str(folder), "TORTURE_OF": str(folder)}


def torture(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "torture", *arguments],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def is_of(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("TORTURE_OF") == str(folder) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def left_of(folder: Path) -> list[str]:
    return [" ".join(process.cmdline()) for process in psutil.process_iter() if is_of(process, folder)]


# ── A whole run ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("torture")
    return torture(folder, *SHORT, "--keep", "--json", str(folder / "verdict.json")), folder


@pytest.fixture
def verdict(short_run) -> dict[str, Any]:
    return json.loads((short_run[1] / "verdict.json").read_text())


@pytest.fixture
def evidence(short_run) -> Evidence:
    (kept,) = short_run[1].glob("sendonce-torture-2-*-kept/evidence.json")
    return Evidence.load(kept)


def test_a_short_run_passes(short_run, verdict):
    done, folder = short_run

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED: nothing twice, nothing lost" in done.stdout
    assert verdict["passed"]
    (seed,) = verdict["seeds"]
    assert not any(seed["sins"].values())
    assert seed["accepted"] == sum(seed["endings"].values()) - seed["unheard"]
    assert {event["fault"] for event in seed["events"]} == CHAOS
    assert wait_for(lambda: not left_of(folder), within=60), left_of(folder)  # a guardian outlives its run by a moment


def test_its_four_books_were_all_written(evidence):
    assert {answer.number for answer in evidence.answers} == {offer.number for offer in evidence.offers}
    assert {mail.job for mail in evidence.mails} <= {row.id for row in evidence.rows}
    assert len([step for step in evidence.steps if step.new == "dot"]) >= len(evidence.mails) > 0
    assert {move.new for move in evidence.moves} >= {"queued", "running", "completed"}
    assert evidence.deeds
    assert evidence.audit.holds


def add_a_copy(evidence: Evidence) -> None:
    evidence.mails.append(next(mail for mail in evidence.mails if mail.kept))


def lose_a_mail(evidence: Evidence) -> None:
    evidence.mails.remove(next(mail for mail in evidence.mails if mail.kept and (mail.answer or "").startswith("250")))


def forget_the_marks(evidence: Evidence) -> None:
    evidence.steps = [step for step in evidence.steps if step.new != "dot"]


def forget_what_the_server_did(evidence: Evidence) -> None:
    evidence.deeds = []


@pytest.mark.parametrize(
    ("tamper", "crime"),
    [
        (add_a_copy, "DUPLICATE"),
        (lose_a_mail, "LOST"),
        (forget_the_marks, "UNMARKED DOT"),
        (forget_what_the_server_did, "FALSELY DEAD"),
    ],
)
def test_a_run_whose_books_are_tampered_with_is_convicted(
    evidence: Evidence, tmp_path: Path, tamper: Callable[[Evidence], None], crime: str
):
    tamper(evidence)
    evidence.save(tmp_path / "tampered.json")

    done = torture(tmp_path, "--judge", str(tmp_path / "tampered.json"))

    assert done.returncode == 1
    assert f"Seed 2: {crime}" in done.stdout


# ── Its end ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_it_is_stopped_no_process_is_left(tmp_path: Path, number: signal.Signals):
    log = tmp_path / "said"
    with log.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "manage.py", "torture", *SHORT], cwd=ROOT, env=environment(tmp_path), stdout=said
        )
    try:
        assert wait_for(lambda: "jobs come in" in log.read_text() or running.poll() is not None, within=300)
        assert running.poll() is None, log.read_text()
        running.send_signal(number)
        running.wait(120)
    finally:
        running.kill()
        running.wait()

    assert running.returncode == (-number if number is signal.SIGKILL else 130)
    assert wait_for(lambda: not left_of(tmp_path), within=120), left_of(tmp_path)
    if number is not signal.SIGKILL:
        assert not list(tmp_path.glob("sendonce-torture-*"))
