"""The gate: Redis may save work, PostgreSQL decides."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection
from structlog.testing import capture_logs

from jobs.models import Delivery, Job
from jobs.states import Decision
from scheduler.logs import name_subject
from tests.jobs.transitions import builders as build
from workers import gate

pytestmark = pytest.mark.usefixtures("committed", "bell")


def in_redis(claim) -> str:
    return f"sendonce:gate:{claim.dedupe_hash.hex()}"


def test_the_first_of_a_key_is_let_in_and_redis_knows_that_it_asked(bell):
    claim = build.claimed(key="order-7")

    admitted = gate.admit([claim])

    assert admitted == [claim]
    assert build.where(claim) == ("running", "claimed")
    assert bell.get(in_redis(claim)) == str(claim.token).encode()
    assert 0 < bell.ttl(in_redis(claim)) <= 86_400


def test_what_redis_calls_sent_is_a_duplicate_and_costs_no_row(bell, moved):
    original = build.sent(key="order-7")
    bell.set(in_redis(original), b"sent")
    claim = build.claimed(key="order-7")

    with capture_logs(processors=[name_subject]) as logs:
        assert gate.admit([claim]) == []

    job = Job.objects.get(pk=claim.job_id)
    assert job.status == "completed"
    assert job.result == {"duplicate_of": str(original.job_id)}
    assert moved("duplicates_suppressed_total", tier="l1") == 1
    assert moved("duplicates_suppressed_total", tier="l2") == 0
    assert moved("jobs_processed_total", status="completed", type="email") == 1
    (line,) = logs
    assert line["event"] == "duplicate_suppressed"
    assert (line["job_id"], line["tier"], line["correlation_id"]) == (str(claim.job_id), "l1", "c-1")


def test_a_redis_that_has_forgotten_leaves_the_duplicate_to_postgres(moved):
    build.sent(key="order-7")
    claim = build.claimed(key="order-7")

    assert gate.admit([claim]) == []

    assert build.where(claim) == ("completed", "sent")
    assert moved("duplicates_suppressed_total", tier="l2") == 1
    assert moved("duplicates_suppressed_total", tier="l1") == 0


def test_a_redis_that_lies_suppresses_nothing(bell, moved):
    claim = build.claimed(key="order-7")
    bell.set(in_redis(claim), b"sent")

    assert gate.admit([claim]) == [claim]

    assert build.where(claim) == ("running", "claimed")
    assert moved("duplicates_suppressed_total", tier="l1") == 0


@pytest.mark.parametrize("value", [b"12", b"", b"SENT", b"\xff"])
def test_anything_else_in_redis_means_ask_postgres(bell, value):
    claim = build.claimed(key="order-7")
    bell.set(in_redis(claim), value)

    assert gate.admit([claim]) == [claim]


def test_another_type_at_the_key_means_ask_postgres(bell):
    claim = build.claimed(key="order-7")
    bell.lpush(in_redis(claim), b"sent")

    assert gate.admit([claim]) == [claim]


def test_without_redis_postgres_decides_alone(own_redis, moved):
    own_redis.kill()
    build.sent(key="order-7")
    duplicate, fresh = build.claimed(key="order-7"), build.claimed()

    assert gate.admit([duplicate, fresh]) == [fresh]

    assert build.where(duplicate) == ("completed", "sent")
    assert moved("duplicates_suppressed_total", tier="l2") == 1


def test_of_two_of_one_key_in_a_batch_one_goes_and_the_other_waits_for_free():
    claims = [build.claimed(key="order-7") for _ in range(2)]

    (admitted,) = gate.admit(claims)

    (waiting,) = [claim for claim in claims if claim is not admitted]
    job = Job.objects.get(pk=waiting.job_id)
    assert job.status == "scheduled"
    assert job.attempts == 0
    assert (job.run_at - job.updated_at).total_seconds() == 1.0
    assert build.facts(admitted).delivery.claim == admitted.token


def test_beside_an_unknown_the_job_is_held():
    first = build.unknown(key="order-7")
    claim = build.claimed(key="order-7")

    with capture_logs() as logs:
        assert gate.admit([claim]) == []

    job = Job.objects.get(pk=claim.job_id)
    assert (job.status, job.held_behind) == ("unknown", first.job_id)
    assert [line["event"] for line in logs] == ["job_held"]


def test_a_job_that_was_sent_again_passes_although_redis_never_heard_of_it():
    first = build.unknown(key="order-7")
    build.decide(first, Decision.SEND_AGAIN)
    claim = build.claimed(first.job_id)

    assert gate.admit([claim]) == [claim]


def test_a_claim_that_is_not_ours_any_more_is_forgotten():
    claim = build.claimed()
    build.rescue()

    with capture_logs() as logs:
        assert gate.admit([claim]) == []

    assert build.where(claim) == ("queued", None)
    assert logs == []


def test_one_batch_may_hold_every_case():
    sent = build.sent(key="a")
    unknown = build.unknown(key="b")
    busy = build.gated(key="c", worker=build.OTHER_WORKER)
    claims = {key: build.claimed(key=key) for key in "abcd"}

    admitted = gate.admit(list(claims.values()))

    assert admitted == [claims["d"]]
    assert {key: Job.objects.get(pk=claim.job_id).status for key, claim in claims.items()} == {
        "a": "completed",
        "b": "unknown",
        "c": "scheduled",
        "d": "running",
    }
    states = {bytes(row.dedupe_hash): row.state for row in Delivery.objects.all()}
    assert [states[claim.dedupe_hash] for claim in (sent, unknown, busy)] == ["sent", "unknown", "claimed"]


def test_without_postgres_nothing_is_let_in(postgres):
    claim = build.claimed()
    postgres.go_away()

    with pytest.raises(OperationalError):
        gate.admit([claim])

    assert connection.connection is None, "the next look opens a fresh connection"
    postgres.come_back()
    assert gate.admit([claim]) == [claim]
