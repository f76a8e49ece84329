"""Claim: queued jobs become a worker's, under a token that is never used again."""

from __future__ import annotations

import pytest

from jobs import chores, transitions
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    WORKER,
    a_job,
    a_stranger,
    ago,
    claimed,
    dropped,
    facts,
    failed,
    gated,
    held,
    marked,
    nothing_moves,
    sent,
    sent_again,
    set_job,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


def test_a_claimed_job_runs_for_its_worker_and_has_spent_an_attempt():
    job_id = a_job(key="k", provider="backup", max_attempts=3)

    (claim,) = transitions.claim([job_id], worker=WORKER)

    job = facts(job_id).job
    assert (job.status, job.worker, job.claim, job.attempts) == ("running", WORKER, claim.token, 1)
    assert (claim.job_id, claim.attempt, claim.max_attempts, claim.provider) == (job_id, 1, 3, "backup")
    assert claim.payload == {"to": ["ann@example.org"], "subject": "Hello"}
    assert claim.dedupe_hash == bytes(job.dedupe_hash)
    assert facts(job_id).delivery is None


def test_every_claim_has_a_token_of_its_own_so_that_an_old_one_opens_nothing():
    first = claimed()
    transitions.put_back([first], wait_seconds=0)
    chores.promote(limit=10)

    second = claimed(first.job_id)

    assert second.token > first.token
    assert second.attempt == first.attempt


def test_a_claim_takes_what_is_queued_and_leaves_what_is_not():
    queued, scheduled = a_job(), a_job(delay_seconds=60.0)

    claims = transitions.claim([queued, scheduled, a_stranger()], worker=WORKER)

    assert [c.job_id for c in claims] == [queued]
    assert where(scheduled) == ("scheduled", None)


@pytest.mark.parametrize("build", [claimed, gated, marked, unknown, sent, failed, dropped])
def test_a_job_that_is_not_queued_is_not_claimed_again(build):
    taken = build()

    with nothing_moves(taken):
        assert transitions.claim([taken.job_id], worker=OTHER_WORKER) == []


def test_a_held_job_is_not_claimed():
    waiting = held(behind=unknown(key="k"))

    with nothing_moves(waiting):
        assert transitions.claim([waiting.job_id], worker=OTHER_WORKER) == []


def test_a_cancelled_job_is_not_claimed():
    job_id = a_job()
    transitions.cancel(job_id, owner_id=facts(job_id).job.owner_id)

    assert transitions.claim([job_id], worker=WORKER) == []
    assert where(job_id) == ("cancelled", None)


def test_an_expired_job_ends_at_its_claim_and_spends_no_attempt():
    job_id = a_job(expires_at=ago(1))

    assert transitions.claim([job_id], worker=WORKER) == []

    job = facts(job_id).job
    assert (job.status, job.attempts, job.worker) == ("expired", 0, None)
    assert job.finished_at is not None


def test_a_job_in_doubt_does_not_expire_because_its_earlier_dot_may_be_accepted():
    first = sent_again()
    set_job(first, expires_at=ago(1))

    (second,) = transitions.claim([first.job_id], worker=WORKER)

    assert second.token > first.token
    assert facts(second).job.status == "running"


def test_the_same_id_twice_in_a_batch_is_one_claim():
    job_id = a_job()

    claims = transitions.claim([job_id, job_id], worker=WORKER)

    assert len(claims) == 1
    assert facts(job_id).job.attempts == 1


def test_without_redis_the_oldest_of_the_highest_priority_are_taken_up_to_the_limit():
    low, younger, older, high = a_job(priority="low"), a_job(), a_job(), a_job(priority="high")
    set_job(older, pushed_at=ago(60))

    claims = transitions.claim_waiting(["high", "default", "low"], limit=2, worker=WORKER)

    assert {c.job_id for c in claims} == {high, older}
    assert [where(job_id)[0] for job_id in (low, younger)] == ["queued", "queued"]


def test_without_redis_only_the_workers_own_queues_are_served():
    a_job(priority="low")

    assert transitions.claim_waiting(["high", "default"], limit=5, worker=WORKER) == []
