"""The pruner: what may be forgotten, and that a message was sent never is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from jobs.conf import tunables
from jobs.models import Attempt, DeadLetter, Delivery, Job, Worker
from scheduler.loops import pruner as module
from scheduler.loops.pruner import Pruner
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed")

NOTHING = {"keys": 0, "bodies": 0, "jobs": 0, "workers": 0, "tokens": 0}


@pytest.fixture
def pruner():
    limits = {"idempotency_hours": 24, "keep_bodies_days": 7, "keep_completed_days": 30, "keep_decided_days": 180}
    return Pruner(replace(tunables(), **limits))


def ended(claim, *, days: float) -> None:
    build.set_job(claim, finished_at=timezone.now() - timedelta(days=days))


def decided(claim, *, days: float) -> None:
    at = timezone.now() - timedelta(days=days)
    DeadLetter.objects.filter(job_id=claim.job_id).update(resolution="discarded", resolved_at=at)


def counts(**changed: int) -> dict[str, int]:
    return NOTHING | changed


def test_an_idempotency_key_may_be_used_again_after_its_window(pruner):
    old, young = build.a_job(idempotency_key="old"), build.a_job(idempotency_key="young")
    build.set_job(old, created_at=build.ago(25 * 3600))
    build.set_job(young, created_at=build.ago(23 * 3600))

    assert pruner.run_once(0.0) == counts(keys=1)

    assert [Job.objects.get(pk=job_id).idempotency_open for job_id in (old, young)] == [False, True]
    assert build.a_job(idempotency_key="old")


def test_bodies_go_first_and_only_of_jobs_that_nobody_waits_for(pruner):
    old, young, dead, unknown = build.sent(), build.sent(), build.failed(), build.unknown()
    waiting = build.a_job()
    ended(old, days=8)
    ended(young, days=6)
    ended(dead, days=8)

    assert pruner.run_once(0.0) == counts(bodies=1)

    gone = Job.objects.get(pk=old.job_id)
    assert (gone.payload, gone.recipients, gone.status) == (None, [], "completed")
    for kept in (young.job_id, dead.job_id, unknown.job_id, waiting):
        assert Job.objects.get(pk=kept).payload is not None


def test_an_old_job_goes_with_its_history_but_that_it_was_sent_stays(pruner):
    claim = build.sent(key="order-7")
    ended(claim, days=31)

    assert pruner.run_once(0.0)["jobs"] == 1

    assert not Job.objects.filter(pk=claim.job_id).exists()
    assert not Attempt.objects.filter(job_id=claim.job_id).exists()
    assert Delivery.objects.get(job_id=claim.job_id).state == "sent"
    duplicate = build.claimed(key="order-7")
    assert build.gate(duplicate).duplicates == {duplicate.token}, "and so it is not sent again, for ever"


def test_a_job_whose_key_is_still_open_stays(pruner):
    claim = build.sent(idempotency_key="k")
    ended(claim, days=31)

    assert pruner.run_once(0.0) == counts(bodies=1)


def test_a_dead_letter_that_nobody_decided_stays_for_ever(pruner):
    claim = build.failed()
    ended(claim, days=10_000)

    assert pruner.run_once(0.0) == NOTHING


@pytest.mark.parametrize(("days", "pruned"), [(179, 0), (181, 1)])
def test_a_decided_dead_letter_stays_long_enough_to_be_asked_about(pruner, days, pruned):
    claim = build.failed()
    ended(claim, days=200)
    decided(claim, days=days)

    assert pruner.run_once(0.0) == counts(jobs=pruned)
    assert DeadLetter.objects.filter(job_id=claim.job_id).count() == 1 - pruned


def test_an_unknown_stays_whatever_its_age(pruner):
    claim = build.unknown()
    build.set_job(claim, created_at=build.ago(1e9), updated_at=build.ago(1e9))

    assert pruner.run_once(0.0) == NOTHING


def test_a_workers_row_goes_when_it_died_long_ago_and_holds_nothing(pruner):
    build.claimed(worker=build.OTHER_WORKER)
    for worker in (build.WORKER, build.OTHER_WORKER):
        build.beat(worker)
    Worker.objects.update(beat_at=build.ago(25 * 3600))
    build.transitions.beat(build.uuid4(), name="young", state="busy", in_flight=0, completed=0)

    assert pruner.run_once(0.0) == counts(workers=1)
    assert set(Worker.objects.values_list("name", flat=True)) == {"host:1", "young"}


def test_a_mountain_is_carried_off_in_small_batches_over_many_rounds(pruner, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "BATCHES_PER_ROUND", 2)
    small = Pruner(tunables())
    for _ in range(7):
        ended(build.sent(), days=8)

    rounds = [small.run_once(0.0)["bodies"] for _ in range(4)]

    assert rounds == [4, 3, 0, 0]


def test_refresh_tokens_that_have_run_out_leave_the_blacklist_and_the_others_stay(pruner):
    now = timezone.now()
    over, slow, good = -timedelta(days=1, minutes=1), -timedelta(hours=1), timedelta(hours=1)
    ages = {"over": over, "over but for a slow clock": slow, "good": good}
    for jti, age in ages.items():
        token = OutstandingToken.objects.create(jti=jti, token=jti, created_at=now, expires_at=now + age)
        BlacklistedToken.objects.create(token=token)

    assert pruner.run_once(0.0)["tokens"] > 0

    assert {token.jti for token in OutstandingToken.objects.all()} == {"over but for a slow clock", "good"}
    assert BlacklistedToken.objects.count() == 2
