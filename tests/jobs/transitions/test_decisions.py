"""People's moves: cancel, resolve, requeue, discard. Each is decided by the guarded row, never by hope."""

from __future__ import annotations

import pytest

from jobs import chores, resolutions, transitions
from jobs.claims import Waiting
from jobs.errors import AlreadySent, InFlight, NotFound, TooLate
from jobs.models import DeadLetter, Job
from jobs.resolutions import OVERRIDABLE, TAKEN_BY, Outlook
from jobs.states import Decision, Outcome, Resolution
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    a_job,
    a_stranger,
    ago,
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
    mark,
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
def test_a_decision_moves_job_and_delivery_and_is_recorded_with_who_when_and_why(decision, expected):
    claim = unknown(key="k", priority="high")
    dead_letter = letter(claim)

    dedupe_hash, waiting = resolutions.resolve(dead_letter, decision, by=an_owner("eve").pk, note="She says so.")

    assert where(claim) == expected
    assert bytes(dedupe_hash) == hash_of("k")
    assert waiting == Waiting(claim.job_id, "high")
    record = DeadLetter.objects.get(pk=dead_letter)
    assert (record.resolution, record.resolved_by, record.note) == (decision.value, an_owner("eve"), "She says so.")
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
    assert waiting == Waiting(claim.job_id, "low")
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
    chores.wake_held(limit=10)

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


# ── What was sent is not sent again ───────────────────────────────────────────────────────────


def test_a_job_whose_key_was_sent_by_another_is_not_requeued():
    """It would be completed as a duplicate, and read as if this decision had sent it."""
    claim = failed(key="k")
    other = sent(key="k")

    with nothing_moves(claim, other), pytest.raises(AlreadySent, match=str(other.job_id)):
        resolutions.requeue(letter(claim, "permanent"), by=None)


@pytest.mark.parametrize("build", [gated, marked, unknown])
def test_a_job_whose_key_another_has_is_not_requeued_until_that_ones_outcome_is_known(build):
    claim = failed(key="k")
    rival = build(key="k")

    with nothing_moves(claim, rival), pytest.raises(InFlight, match=str(rival.job_id)):
        resolutions.requeue(letter(claim, "permanent"), by=None, override=True, note="Now.")


def test_a_job_whose_key_was_dropped_later_is_not_requeued():
    """It would run into the closed gate and come back as a dead letter of another reason."""
    claim = failed(key="k")
    dropped(key="k")

    with nothing_moves(claim), pytest.raises(TooLate, match="another key"):
        resolutions.requeue(letter(claim, "permanent"), by=None, override=True, note="Now.")


def test_a_job_whose_time_is_over_is_not_requeued():
    claim = failed()
    set_job(claim, expires_at=ago(1))

    with nothing_moves(claim), pytest.raises(TooLate, match="expires_at"):
        resolutions.requeue(letter(claim, "permanent"), by=None)


def overridden(claim, note="She deleted it."):
    resolutions.requeue(letter(claim, "permanent"), by=an_owner("eve").pk, note=note, override=True)
    return claim.job_id


def test_an_override_sends_once_more_and_its_record_says_who_when_and_why():
    claim = failed(key="k")
    other = sent(key="k")

    again = claimed(overridden(claim))

    assert gate(again).admitted == {again.token}
    assert mark(again)
    assert settle(again, Outcome.SENT) == "completed"
    record = DeadLetter.objects.get(job_id=claim.job_id)
    assert (record.resolution, record.resolved_by, record.note) == ("override", an_owner("eve"), "She deleted it.")
    assert record.resolved_at is not None
    assert where(other) == ("completed", "sent")
    assert facts(claim).job.duplicate_of is None


def test_an_override_opens_the_key_for_nobody_else():
    claim = failed(key="k")
    other = sent(key="k")
    overridden(claim)

    late = claimed(key="k")

    assert gate(late).duplicates == {late.token}
    assert facts(late).job.duplicate_of == other.job_id


def test_an_override_keeps_the_key_that_the_client_gave():
    claim = failed(key="k")
    sent(key="k")

    overridden(claim)

    assert facts(claim).job.dedupe_key == "k"


def test_a_job_that_fails_after_its_override_may_use_the_permission_that_it_has():
    """Its one message more was not sent; a plain requeue of it breaks no promise."""
    claim = failed(key="k")
    sent(key="k")
    second = failed(claimed(overridden(claim)))

    resolutions.requeue(letter(second, "permanent"), by=None)

    assert sent(claimed(claim.job_id))


def test_two_overrides_of_one_key_are_two_permissions():
    first, second = failed(key="k"), failed(key="k")
    sent(key="k")

    for claim in (first, second):
        sent(claimed(overridden(claim)))

    assert {where(claim) for claim in (first, second)} == {("completed", "sent")}


def test_the_zombie_of_an_overridden_job_moves_nothing():
    """Its claim is of the old hash, and that row is somebody else's."""
    claim = failed(key="k")
    sent(key="k")
    overridden(claim)

    with nothing_moves(claim):
        for outcome in (Outcome.SENT, Outcome.TRANSIENT, Outcome.UNKNOWN):
            assert settle(claim, outcome) is None
        assert not mark(claim)


def test_an_override_without_anything_to_override_is_a_plain_requeue():
    claim = failed(key="k")

    resolutions.requeue(letter(claim, "permanent"), by=None, override=True, note="Just in case.")

    assert facts(claim).letters == [("permanent", "requeued")]
    assert bytes(facts(claim).job.dedupe_hash) == hash_of("k")


# ── Many ──────────────────────────────────────────────────────────────────────────────────────


def every_kind():
    """Claims of dead jobs, by how their dead letters stand."""
    claims = {outlook: failed(key=outlook.value) for outlook in Outlook}
    claims[Outlook.UNKNOWN] = unknown(key="unknown one")
    sent(key=Outlook.ALREADY_SENT.value)
    gated(key=Outlook.IN_FLIGHT.value)
    dropped(key=Outlook.DROPPED.value)
    set_job(claims[Outlook.EXPIRED], expires_at=ago(1))
    set_job(claims[Outlook.NO_PAYLOAD], payload=None)
    resolutions.discard(letter(claims[Outlook.ALREADY_DECIDED], "permanent"), by=None)
    return claims


def letters_of(claims):
    return {DeadLetter.objects.get(job_id=claim.job_id).pk: outlook for outlook, claim in claims.items()}


def test_every_dead_letter_stands_in_exactly_one_way():
    expected = letters_of(every_kind())

    assert {one.id: one.outlook for one in resolutions.look(expected)} == expected


@pytest.mark.parametrize("resolution", [r for r in Resolution if r in TAKEN_BY])
@pytest.mark.parametrize("overrides", [set(), OVERRIDABLE], ids=["plain", "overridden"])
def test_a_batch_decides_what_it_may_and_leaves_the_rest_exactly_as_it_was(resolution, overrides):
    claims = every_kind()
    letters = letters_of(claims)
    takes = set(TAKEN_BY[resolution])
    if resolution is Resolution.REQUEUED:
        takes |= overrides
    left = [claim for outlook, claim in claims.items() if outlook not in takes]

    with nothing_moves(*left):
        decided = resolutions.decide(letters, resolution, by=an_owner("eve").pk, note="So be it.", overrides=overrides)

    assert {letters[id] for id in decided.done} == takes
    assert {one.id: one.outlook for one in decided.looks} == letters
    for record in DeadLetter.objects.filter(pk__in=decided.done):
        assert (record.resolved_by, record.note) == (an_owner("eve"), "So be it.")


def test_nothing_is_decided_twice_by_naming_it_twice():
    claim = failed()
    dead_letter = letter(claim, "permanent")

    decided = resolutions.decide([dead_letter, dead_letter, 0], Resolution.REQUEUED, by=None)

    assert (len(decided.looks), decided.done) == (1, {dead_letter})
    assert decided.jobs == [Waiting(claim.job_id, "default")]


def test_an_empty_batch_decides_nothing():
    assert resolutions.decide([], Resolution.REQUEUED, by=None) == ([], set())


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
