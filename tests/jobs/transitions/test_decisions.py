"""People's moves: cancel, resolve, requeue, discard. Each is decided by the guarded row, never by hope."""

from __future__ import annotations

import pytest

from jobs import resolutions, transitions
from jobs.errors import NotFound, TooLate
from jobs.models import DeadLetter, Job
from jobs.states import Decision, Outcome
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    a_job,
    a_stranger,
    an_owner,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gate,
    gated,
    hash_of,
    held,
    letter,
    marked,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    set_job,
    settle,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


# ── Cancel ────────────────────────────────────────────────────────────────────────────────────


def cancel(of) -> None:
    job = facts(of).job
    transitions.cancel(job.pk, owner_id=job.owner_id)


@pytest.mark.parametrize("columns", [{}, {"delay_seconds": 60.0}])
def test_a_job_that_nobody_took_can_be_cancelled(columns):
    job_id = a_job(**columns)

    cancel(job_id)

    job = facts(job_id).job
    assert job.status == "cancelled"
    assert job.finished_at is not None


def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled():
    claim = marked()
    settle(claim, Outcome.TRANSIENT)

    cancel(claim)

    assert where(claim) == ("cancelled", "released")


def test_a_held_job_can_be_cancelled_and_waits_no_more():
    first = unknown(key="k")
    waiting = held(behind=first)

    cancel(waiting)

    job = facts(waiting).job
    assert (job.status, job.held_behind, job.result) == ("cancelled", None, None)
    assert where(first) == ("unknown", "unknown")


@pytest.mark.parametrize("build", [claimed, gated, marked, unknown, sent, failed, dropped, sent_again])
def test_a_job_that_was_taken_or_may_have_gone_out_is_too_late_to_cancel(build):
    claim = build()

    with nothing_moves(claim), pytest.raises(TooLate):
        cancel(claim)


def test_a_held_job_in_doubt_is_too_late_to_cancel():
    first = sent_again(key="k")
    unknown(key="k")
    second = claimed(first.job_id)
    assert gate(second).held

    with nothing_moves(second), pytest.raises(TooLate):
        cancel(second)


def test_nobody_cancels_the_job_of_another():
    job_id = a_job()

    with nothing_moves(job_id), pytest.raises(TooLate):
        transitions.cancel(job_id, owner_id=an_owner("bob").pk)


def test_a_job_that_does_not_exist_is_not_cancelled():
    with pytest.raises(TooLate):
        transitions.cancel(a_stranger(), owner_id=an_owner().pk)


# ── Resolve ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Decision.MARK_SENT, ("completed", "sent")),
        (Decision.SEND_AGAIN, ("queued", "released")),
        (Decision.DROP, ("failed", "dropped")),
    ],
)
def test_a_decision_moves_job_and_delivery_and_is_recorded_with_who_and_when(decision, expected):
    claim = unknown(key="k", priority="high")
    dead_letter = letter(claim)

    dedupe_hash, waiting = resolutions.resolve(dead_letter, decision, by=an_owner("eve").pk)

    assert where(claim) == expected
    assert bytes(dedupe_hash) == hash_of("k")
    assert waiting == (claim.job_id, "high")
    record = DeadLetter.objects.get(pk=dead_letter)
    assert (record.resolution, record.resolved_by) == (decision.value, an_owner("eve"))
    assert record.resolved_at is not None


def test_marked_as_sent_is_complete_and_says_by_whose_word():
    claim = unknown()

    decide(claim, Decision.MARK_SENT)

    job = facts(claim).job
    assert job.result == {"resolution": "mark_sent"}
    assert job.finished_at is not None


def test_marked_as_sent_keeps_the_key_closed_for_duplicates():
    decide(unknown(key="k"), Decision.MARK_SENT)

    assert gate(claimed(key="k")).duplicates


def test_sent_again_is_in_doubt_with_a_new_budget_and_keeps_the_old_token_until_it_is_retaken():
    claim = unknown()
    set_job(claim, deaths=2)

    decide(claim, Decision.SEND_AGAIN)

    job = facts(claim).job
    assert (job.in_doubt, job.attempts, job.deaths, job.finished_at) == (True, 0, 0, None)
    assert facts(claim).delivery.claim == claim.token


def test_policy_sends_again_on_the_old_budget_and_in_nobodys_name():
    claim = unknown(on_unknown="resend")

    resolutions.resolve(letter(claim), Decision.SEND_AGAIN, by=None, new_budget=False)

    job = facts(claim).job
    assert (job.in_doubt, job.attempts) == (True, 1)
    assert DeadLetter.objects.get(job_id=claim.job_id).resolved_by is None


def test_a_dropped_key_stays_closed():
    decide(unknown(key="k"), Decision.DROP)

    assert gate(claimed(key="k")).held


@pytest.mark.parametrize("second", Decision)
@pytest.mark.parametrize("first", Decision)
def test_whoever_decides_second_is_too_late(first, second):
    claim = unknown()
    decide(claim, first)

    with nothing_moves(claim), pytest.raises(TooLate):
        decide(claim, second)


@pytest.mark.parametrize("decision", Decision)
def test_a_late_reply_is_before_the_decision(decision):
    claim = unknown()
    settle(claim, Outcome.SENT)

    with nothing_moves(claim), pytest.raises(TooLate):
        decide(claim, decision)


@pytest.mark.parametrize("decision", Decision)
def test_a_dead_letter_that_is_no_unknown_is_not_resolved(decision):
    claim = failed()

    with nothing_moves(claim), pytest.raises(TooLate):
        resolutions.resolve(letter(claim, "permanent"), decision, by=None)


def test_a_dead_letter_that_does_not_exist_is_not_found():
    for act in (
        lambda: resolutions.resolve(0, Decision.DROP, by=None),
        lambda: resolutions.requeue(0, by=None),
        lambda: resolutions.discard(0, by=None),
    ):
        with pytest.raises(NotFound):
            act()


# ── Requeue and discard ───────────────────────────────────────────────────────────────────────


def test_a_requeued_job_gets_a_new_budget_and_a_clean_sheet():
    claim = failed(key="k", priority="low")

    waiting = resolutions.requeue(letter(claim, "permanent"), by=an_owner("eve").pk)

    job = facts(claim).job
    assert waiting == (claim.job_id, "low")
    assert (job.status, job.attempts, job.finished_at, job.last_error) == ("queued", 0, None, None)
    assert facts(claim).letters == [("permanent", "requeued")]
    assert gate(claimed(claim.job_id)).admitted


def test_a_requeued_job_that_fails_again_is_a_new_dead_letter():
    first = failed()
    resolutions.requeue(letter(first, "permanent"), by=None)

    second = failed(claimed(first.job_id))

    assert facts(second).letters == [("permanent", "requeued"), ("permanent", None)]


@pytest.mark.parametrize("build", [unknown, dropped, sent_again])
def test_an_unknown_is_never_simply_requeued_or_discarded(build):
    claim = build()

    for act in (resolutions.requeue, resolutions.discard):
        with nothing_moves(claim), pytest.raises(TooLate):
            act(letter(claim), by=None)


def test_a_job_that_was_held_behind_a_dropped_one_is_not_requeued():
    first = unknown(key="k")
    waiting = held(behind=first)
    decide(first, Decision.DROP)
    transitions.wake_held(limit=10)

    with nothing_moves(waiting), pytest.raises(TooLate):
        resolutions.requeue(letter(waiting, "dropped"), by=None)


def test_a_job_without_its_body_is_not_requeued():
    claim = failed()
    Job.objects.filter(pk=claim.job_id).update(payload=None)

    with nothing_moves(claim), pytest.raises(TooLate):
        resolutions.requeue(letter(claim, "permanent"), by=None)


def test_a_requeue_is_done_once():
    claim = failed()
    resolutions.requeue(letter(claim, "permanent"), by=None)

    with nothing_moves(claim), pytest.raises(TooLate):
        resolutions.requeue(letter(claim, "permanent"), by=None)


def test_a_discarded_dead_letter_stays_failed_and_is_no_more_asked_about():
    claim = failed()

    resolutions.discard(letter(claim, "permanent"), by=an_owner("eve").pk)

    assert where(claim) == ("failed", "released")
    assert facts(claim).letters == [("permanent", "discarded")]
    with pytest.raises(TooLate):
        resolutions.requeue(letter(claim, "permanent"), by=None)


def test_a_job_that_killed_its_workers_can_be_requeued():
    job_id = a_job()
    for _ in range(3):
        last = claimed(job_id, worker=OTHER_WORKER)
        rescue(OTHER_WORKER)

    resolutions.requeue(letter(last, "worker_lost"), by=None)

    job = facts(job_id).job
    assert (job.status, job.deaths) == ("queued", 0)
