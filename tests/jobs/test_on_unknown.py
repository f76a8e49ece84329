"""What becomes of an unknown: the job says it, or its type does (ON_UNKNOWN), or a person decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.models import Job
from tests.jobs.conftest import EMAIL

ROOT = Path(__file__).parents[2]
WELCOME = {"email": "ann@example.org", "name": "Ann"}


@pytest.mark.parametrize(
    ("body", "policy"),
    [
        (WELCOME, "resend"),
        ({"type": "email", "payload": EMAIL}, "hold"),
        (WELCOME | {"on_unknown": "assume_sent"}, "assume_sent"),
        (WELCOME | {"on_unknown": "hold"}, "hold"),
        (WELCOME | {"on_unknown": None}, "resend"),
    ],
)
def test_the_job_decides_else_its_type_else_a_person(caller, tunables, body, policy):
    tunables(on_unknown={"welcome_email": "resend"})

    assert caller.post("/addJob", body).status_code == 202

    assert Job.objects.get().on_unknown == policy


def test_a_replay_gets_its_first_answer_although_the_installation_changed_its_mind(caller, tunables):
    first = caller.add(idempotency_key="order 7")
    tunables(on_unknown={"email": "resend"})

    again = caller.add(idempotency_key="order 7")

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again["Idempotency-Replayed"] == "true"
    assert Job.objects.get().on_unknown == "hold"


def test_a_policy_that_does_not_exist_is_named_with_the_ones_that_do(caller):
    answer = caller.add(on_unknown="retry")

    assert answer.status_code == 400
    assert answer.json()["errors"] == {"on_unknown": ["One of hold, resend, assume_sent."]}


@pytest.mark.parametrize("name", ["ON_UNKNOWN", "EVIDENCE_SOURCES", "EMAIL_PROVIDERS"])
def test_an_entry_that_is_no_pair_refuses_to_start_and_shows_nothing_of_itself(name):
    command = [sys.executable, "manage.py", "check"]
    env = os.environ | {name: "hunter2"}

    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{name}: an entry has no =. Example: ")
    assert "hunter2" not in ended.stderr
