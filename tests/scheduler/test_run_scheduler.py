"""`manage.py run_scheduler`: all chores, metrics when asked for, and an orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection

from jobs import conf, queue
from scheduler.embedded.child import free_port
from scheduler.ticker import Ticker
from tests.conftest import until
from tests.jobs.transitions import builders as build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept_handlers():
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(monkeypatch, kept_handlers, number):
    chores = []

    def run(ticker):
        chores.extend(chore.name for chore in ticker._chores)
        os.kill(os.getpid(), number)
        assert ticker._stopping.wait(5)

    monkeypatch.setattr(Ticker, "run", run)

    call_command("run_scheduler")

    first, then = (
        ["promoter", "timekeeper", "herald", "rescuer"],
        ["reconciler", "inquirer", "witness", "waker", "pruner"],
    )
    assert chores == first + then


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_nonsense_is_refused_before_anything_starts(port):
    with pytest.raises(CommandError, match="is not a port"):
        call_command("run_scheduler", "--metrics-port", port)


def test_a_source_of_evidence_that_makes_no_sense_is_refused_before_anything_starts(tunables):
    tunables(evidence_sources={"local": "ftp://ann:s3cret@host"})

    with pytest.raises(ImproperlyConfigured, match="EVIDENCE_SOURCES: 'local': the URL must start with") as refused:
        call_command("run_scheduler")

    assert "s3cret" not in str(refused.value)


@pytest.mark.slow
def test_the_process_works_tells_its_metrics_and_ends_with_0(committed, bell):
    job_id = build.a_job(delay_seconds=60)
    build.set_job(job_id, run_at=build.ago(1))
    known, port = connection.settings_dict, free_port()
    database = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known)
    env = os.environ | {"DATABASE_URL": database, "REDIS_URL": conf.tunables().redis_url}
    command = [sys.executable, "manage.py", "run_scheduler", "--metrics-port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: build.where(job_id)[0] == "queued" and queue.depths()["default"] == 1, within=30)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)

    assert process.returncode == 0
    assert 'queue_depth{lane="messages",priority="default"} 1.0' in text
    assert "lease_timeouts_total 0.0" in text
    assert "scheduler_started" in errors
    assert errors.rstrip().splitlines()[-1].count("scheduler_stopped") == 1
