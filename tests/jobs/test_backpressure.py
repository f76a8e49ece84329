"""When too many jobs wait, no more are accepted, and nothing that was accepted is dropped."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from jobs import backpressure, intake, queue
from jobs.backpressure import Backpressure
from jobs.models import Job
from jobs.states import Lane
from tests.jobs.conftest import EMAIL

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture(autouse=True)
def limit(tunables, monkeypatch):
    """Two jobs may wait, and somebody looks each time."""
    monkeypatch.setattr(backpressure, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(intake, "_backpressure", Backpressure())
    tunables(queue_limit=2)
    return tunables


def fill(caller) -> None:
    for number in range(2):
        assert caller.add(idempotency_key=f"k{number}").status_code == 202


def test_one_too_many_is_told_when_to_ask_again(caller):
    fill(caller)

    answer = caller.add()

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, "queue_full", "5")
    assert Job.objects.count() == 2


def test_a_replay_is_answered_all_the_same_also_without_the_memory_of_redis(caller, bell):
    fill(caller)
    (first,) = Job.objects.filter(idempotency_key="k0")
    assert bell.delete(*bell.scan_iter("sendonce:idem:*")) == 2

    answer = caller.add(idempotency_key="k0")

    assert (answer.status_code, answer.json()["id"]) == (202, str(first.id))


def test_of_a_batch_each_is_told(caller):
    fill(caller)

    refused = caller.post("/jobs/batch", {"jobs": [{"type": "email", "payload": EMAIL}] * 2})

    assert [result["error"]["status"] for result in refused.json()["results"]] == [429, 429]
    assert Job.objects.count() == 2


def test_when_a_worker_has_taken_some_there_is_room_again(caller):
    fill(caller)
    assert caller.add().status_code == 429

    with capture_logs() as told:
        queue.take(["default"], limit=1, timeout_seconds=1.0)
        assert caller.add().status_code == 202

    said = [line["event"] for line in told if line["event"].startswith("queue_")]
    assert said == ["queue_has_room", "queue_full"]  # by this very job


def test_both_lanes_count(caller):
    fill(caller)
    for waiting in queue.take(["default"], limit=2, timeout_seconds=1.0):
        queue.push([waiting._replace(lane=Lane.TASKS)])

    assert caller.add().status_code == 429


def test_without_redis_postgresql_counts(caller, own_redis):
    own_redis.kill()
    fill(caller)

    assert caller.add().status_code == 429
    Job.objects.update(status="running", worker="00000000-0000-4000-8000-000000000000", claim=1)
    assert caller.add().status_code == 202


def test_0_is_no_limit(caller, limit):
    fill(caller)
    limit(queue_limit=0)

    assert caller.add().status_code == 202


def test_it_is_looked_at_a_few_times_a_second_only(caller, monkeypatch):
    monkeypatch.setattr(backpressure, "LOOK_SECONDS", 3600.0)
    assert caller.add().status_code == 202  # looked afterwards: one
    monkeypatch.setattr(queue, "depths", lambda lane: pytest.fail("looked again"))

    assert [caller.add().status_code for _ in range(5)] == [202] * 5


def test_who_was_full_an_hour_ago_is_asked_again_before_anybody_is_refused(caller, bell):
    fill(caller)
    queue.take(["default"], limit=2, timeout_seconds=1.0)

    assert caller.add().status_code == 202
