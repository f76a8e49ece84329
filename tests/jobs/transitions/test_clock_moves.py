"""The clock's moves: promote, find the lost, wake the held, apply policy, prune. All by level: safe to run twice."""

from __future__ import annotations

import pytest

from jobs import chores, resolutions, transitions
from jobs.claims import Waiting
from jobs.models import Attempt, DeadLetter, Delivery, Job, Worker
from jobs.states import Decision, Outcome
from tests.jobs.transitions.builders import (
    a_job,
    ago,
    beat,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gate,
    gated,
    held,
    letter,
    marked,
    nothing_moves,
    sent,
    sent_again,
    set_job,
    settle,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


def ids(waiting) -> list:
    return [w.job_id for w in waiting]


# ── Promote ───────────────────────────────────────────────────────────────────────────────────


def test_what_is_due_is_queued_and_what_is_not_waits():
    due, later = a_job(delay_seconds=60.0, priority="high"), a_job(delay_seconds=60.0)
    set_job(due, run_at=ago(1))

    assert chores.promote(limit=10) == [Waiting(due, "high")]

    assert facts(due).job.pushed_at is not None
    assert [where(due)[0], where(later)[0]] == ["queued", "scheduled"]


def test_the_longest_due_go_first_when_there_are_more_than_the_limit():
    jobs = [a_job(delay_seconds=60.0) for _ in range(4)]
    for number, job_id in enumerate(jobs):
        set_job(job_id, run_at=ago(10 - number))

    assert set(ids(chores.promote(limit=3))) == set(jobs[:3])
    assert ids(chores.promote(limit=3)) == jobs[3:]
    assert chores.promote(limit=3) == []


def test_only_what_is_scheduled_is_promoted():
    claims = [build() for build in (claimed, marked, unknown, sent, failed)]
    for claim in claims:
        set_job(claim, run_at=ago(60))

    with nothing_moves(*claims):
        assert chores.promote(limit=10) == []


# ── Find the lost ─────────────────────────────────────────────────────────────────────────────


def test_a_job_older_than_what_waits_at_the_head_was_lost_and_is_pushed_again():
    lost, at_head, behind = a_job(), a_job(), a_job()
    set_job(lost, pushed_at=ago(60))
    set_job(at_head, pushed_at=ago(30))
    set_job(behind, pushed_at=ago(10))

    found = chores.find_lost("default", head=[at_head], grace_seconds=5, limit=10)

    assert found == [Waiting(lost, "default")]


def test_an_empty_list_means_that_everything_older_than_the_grace_is_lost():
    old, young = a_job(), a_job()
    set_job(old, pushed_at=ago(6))
    set_job(young, pushed_at=ago(1))

    assert ids(chores.find_lost("default", head=[], grace_seconds=5, limit=10)) == [old]


def test_a_head_of_stale_ids_proves_nothing_lost_until_it_moves():
    waiting, stale, at_head = a_job(), sent(), a_job()
    set_job(waiting, pushed_at=ago(60))
    set_job(stale, pushed_at=ago(600))

    assert chores.find_lost("default", head=[stale.job_id], grace_seconds=5, limit=10) == []
    moved = chores.find_lost("default", head=[stale.job_id, at_head], grace_seconds=5, limit=10)

    assert ids(moved) == [waiting]


def test_each_priority_is_compared_with_its_own_list():
    high, low = a_job(priority="high"), a_job(priority="low")
    set_job(high, pushed_at=ago(60))
    set_job(low, pushed_at=ago(60))

    assert ids(chores.find_lost("low", head=[], grace_seconds=5, limit=10)) == [low]


def test_only_what_is_queued_can_be_lost():
    for build in (claimed, marked, unknown, sent, failed):
        set_job(build(), pushed_at=ago(60))
    a_job(delay_seconds=60.0)

    assert chores.find_lost("default", head=[], grace_seconds=5, limit=10) == []


# ── Wake the held ─────────────────────────────────────────────────────────────────────────────


def test_a_held_job_wakes_when_its_key_was_decided_and_has_spent_no_attempt():
    first = unknown(key="k")
    waiting = held(behind=first)
    decide(first, Decision.MARK_SENT)

    assert ids(chores.wake_held(limit=10)) == [waiting.job_id]

    job = facts(waiting).job
    assert (job.status, job.held_behind, job.result, job.attempts) == ("queued", None, None, 0)
    assert gate(claimed(waiting.job_id)).duplicates


def test_a_held_job_sleeps_while_its_key_is_unknown():
    first = unknown(key="k")
    waiting = held(behind=first)

    with nothing_moves(first, waiting):
        assert chores.wake_held(limit=10) == []


def test_the_unknown_job_itself_is_not_woken():
    first = unknown(key="k")

    with nothing_moves(first):
        chores.wake_held(limit=10)


def test_held_jobs_of_a_dropped_key_are_dead_letters_that_point_at_it():
    first = unknown(key="k")
    waiting = held(behind=first)
    decide(first, Decision.DROP)

    assert chores.wake_held(limit=10) == []

    found = facts(waiting)
    assert found.job.status == "failed"
    assert found.job.result is None
    assert str(first.job_id) in found.job.last_error["detail"]
    assert found.letters == [("dropped", None)]
    assert DeadLetter.objects.get(pk=letter(waiting, "dropped")).error["kind"] == "dropped"


def test_held_jobs_of_a_dropped_key_beyond_the_limit_stay_held_for_the_next_round():
    first = unknown(key="k")
    waiting = [held(behind=first) for _ in range(2)]
    decide(first, Decision.DROP)

    for statuses in (["failed", "unknown"], ["failed", "failed"]):
        assert chores.wake_held(limit=1) == []
        assert sorted(where(c)[0] for c in waiting) == statuses


def test_a_later_job_of_a_dropped_key_is_held_and_then_a_dead_letter_too():
    first = dropped(key="k")
    late = held(behind=first)

    chores.wake_held(limit=10)

    assert facts(late).letters == [("dropped", None)]


def test_a_held_job_wakes_even_when_the_row_of_its_key_is_gone():
    first = unknown(key="k")
    waiting = held(behind=first)
    decide(first, Decision.MARK_SENT)
    sql("DELETE FROM jobs_delivery")
    sql("DELETE FROM jobs_deadletter")
    sql("DELETE FROM jobs_job WHERE id = %s", first.job_id)

    assert ids(chores.wake_held(limit=10)) == [waiting.job_id]


def test_no_more_are_woken_at_once_than_the_limit():
    first = unknown(key="k")
    for _ in range(3):
        held(behind=first)
    decide(first, Decision.MARK_SENT)

    assert [len(chores.wake_held(limit=2)) for _ in range(3)] == [2, 1, 0]


# ── Policy ────────────────────────────────────────────────────────────────────────────────────


def due(patience: float = 60.0) -> list[tuple[int, str]]:
    return chores.policy_due(patience_seconds=patience, limit=10)


@pytest.mark.parametrize("policy", ["assume_sent", "resend"])
def test_a_policy_waits_until_the_zombie_cannot_be_waiting_for_a_reply_any_more(policy):
    """The other side's own word, should it still come, is better than any assumption."""
    claim = unknown(on_unknown=policy)

    assert due(patience=60.0) == []
    Delivery.objects.update(dot_at=ago(61))
    assert due(patience=60.0) == [(letter(claim), policy)]


def test_resend_ends_with_the_budget_and_leaves_the_rest_to_a_person():
    unknown(on_unknown="resend", max_attempts=1)
    Delivery.objects.update(dot_at=ago(9999))

    assert due() == []


def test_what_is_to_be_held_waits_for_a_person():
    unknown(on_unknown="hold")
    Delivery.objects.update(dot_at=ago(9999))

    assert due() == []


def test_policy_does_not_decide_for_a_job_that_is_merely_held():
    held(behind=unknown(key="k"), on_unknown="assume_sent")

    assert due() == []


def test_policy_decides_an_episode_once():
    claim = unknown(on_unknown="assume_sent")
    decide(claim, Decision.MARK_SENT, by=None)

    assert due() == []


# ── Prune ─────────────────────────────────────────────────────────────────────────────────────

RETENTION = {"days": 30, "decided_days": 180, "limit": 100}


def aged(claim, days: float):
    set_job(claim, finished_at=ago(days * 86400))
    return claim


def test_a_completed_job_goes_with_its_history_but_that_it_was_sent_is_never_forgotten():
    old = aged(sent(key="k"), 31)
    kept = aged(sent(), 29)

    assert chores.prune("jobs", **RETENTION) == 1

    assert list(Job.objects.values_list("pk", flat=True)) == [kept.job_id]
    assert not Attempt.objects.filter(job_id=old.job_id).exists()
    assert gate(claimed(key="k")).duplicates


def test_a_dead_letter_that_nobody_decided_is_never_pruned():
    aged(failed(), 9999)

    assert chores.prune("jobs", **RETENTION) == 0


def test_a_decided_dead_job_goes_after_its_own_time():
    claim = aged(failed(), 181)
    resolutions.discard(letter(claim, "permanent"), by=None)
    assert chores.prune("jobs", **RETENTION) == 0

    DeadLetter.objects.update(resolved_at=ago(181 * 86400))

    assert chores.prune("jobs", **RETENTION) == 1
    assert DeadLetter.objects.count() == 0


def test_a_completed_job_that_was_decided_by_a_person_is_kept_as_long_as_a_decision():
    claim = unknown()
    decide(claim, Decision.MARK_SENT)
    aged(claim, 31)

    assert chores.prune("jobs", **RETENTION) == 0


def test_live_jobs_are_not_pruned_however_old():
    for build in (a_job, claimed, gated, unknown):
        build()
    sql("UPDATE jobs_job SET created_at = now() - interval '9 years'")

    assert chores.prune("jobs", **RETENTION) == 0
    assert chores.prune("bodies", days=7, limit=100) == 0


def test_a_body_goes_before_its_job():
    claim = aged(sent(), 8)
    dead = aged(failed(), 8)

    assert chores.prune("bodies", days=7, limit=100) == 1
    assert chores.prune("bodies", days=7, limit=100) == 0

    job = facts(claim).job
    assert (job.payload, job.recipients) == (None, [])
    assert facts(dead).job.payload is not None


def test_an_idempotency_key_past_its_window_may_be_used_again():
    old, young = a_job(idempotency_key="old"), a_job(idempotency_key="young")
    set_job(old, created_at=ago(25 * 3600))

    assert chores.prune("keys", hours=24, limit=100) == 1

    assert not facts(old).job.idempotency_open
    assert facts(young).job.idempotency_open
    assert a_job(idempotency_key="old")


def test_a_job_whose_key_is_open_is_not_pruned():
    claim = aged(sent(idempotency_key="k"), 31)

    assert chores.prune("jobs", **RETENTION) == 0
    assert where(claim) == ("completed", "sent")


def test_a_worker_long_dead_is_forgotten_once_it_holds_nothing():
    beat()
    holding = claimed()
    sql("UPDATE jobs_worker SET beat_at = now() - interval '2 days'")
    assert chores.prune("workers") == 0

    gate(holding)
    transitions.put_back([holding], wait_seconds=0)

    assert chores.prune("workers") == 1
    assert Worker.objects.count() == 0


def test_a_batch_of_retention_is_small():
    for _ in range(3):
        aged(sent(), 31)

    assert [chores.prune("jobs", **RETENTION | {"limit": 2}) for _ in range(3)] == [2, 1, 0]


# ── Workers ───────────────────────────────────────────────────────────────────────────────────


def test_a_beat_is_one_row_per_worker_however_often():
    beat()
    beat()

    worker = Worker.objects.get()
    assert (worker.name, worker.state, worker.in_flight) == ("host:1", "busy", 1)


def test_a_worker_that_leaves_takes_its_row_with_it():
    beat()

    transitions.leave(Worker.objects.get().pk)

    assert Worker.objects.count() == 0


def test_a_late_reply_to_a_job_sent_again_ends_it_before_the_clock_comes():
    claim = sent_again(key="k")
    settle(claim, Outcome.SENT)

    assert chores.promote(limit=10) == []
    assert chores.find_lost("default", head=[], grace_seconds=-1, limit=10) == []
