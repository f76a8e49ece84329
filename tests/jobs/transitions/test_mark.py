"""The dot mark: who may write the dot, and what is known of it afterwards."""

from __future__ import annotations

import pytest

from jobs import transitions
from jobs.states import Decision, Outcome
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    claimed,
    decide,
    facts,
    gated,
    mark,
    marked,
    nothing_moves,
    rescue,
    sent_again,
    settle,
    settlement,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


def test_a_mark_says_when_and_through_whom_before_the_dot_is_written():
    claim = gated()

    assert transitions.mark([(claim, "backup")]) == {claim.token}

    delivery = facts(claim).delivery
    assert (delivery.state, delivery.provider) == ("dot", "backup")
    assert delivery.dot_at is not None


def test_each_mark_of_a_batch_keeps_its_own_provider():
    claims = [gated() for _ in range(5)]

    moved = transitions.mark([(claim, f"p{claim.token}") for claim in claims])

    assert moved == {claim.token for claim in claims}
    assert [facts(claim).delivery.provider for claim in claims] == [f"p{claim.token}" for claim in claims]


def test_a_worker_that_lost_its_claim_gets_no_mark_while_the_others_of_its_batch_do():
    lost, kept = gated(), gated(worker=OTHER_WORKER)
    rescue()

    moved = transitions.mark([(lost, "main"), (kept, "main")])

    assert moved == {kept.token}
    assert where(lost) == ("queued", "released")


def test_the_mark_of_an_old_claim_does_not_mark_the_row_of_the_new_one():
    old = gated()
    rescue()
    new = gated(claimed(old.job_id, worker=OTHER_WORKER))

    with nothing_moves(new):
        assert not mark(old)


def test_a_second_mark_of_the_same_claim_is_refused():
    claim = marked()

    assert not mark(claim)


def test_no_marks_ask_nobody():
    assert transitions.mark([]) == set()
    assert transitions.take_mark_back([]) == set()


def test_a_mark_taken_back_can_be_made_again_with_the_next_provider():
    claim = marked()

    assert transitions.take_mark_back([claim]) == {claim.token}
    assert mark(claim, "backup")

    assert facts(claim).delivery.provider == "backup"


def test_a_mark_is_not_taken_back_once_the_job_was_declared_dead():
    claim = marked()
    rescue()

    with nothing_moves(claim):
        assert transitions.take_mark_back([claim]) == set()


def test_a_refusal_that_is_passed_on_is_kept_and_the_mark_is_gone():
    refused, unmarked = marked(), gated()
    refusals = [
        settlement(refused, Outcome.TRANSIENT, code=451),
        settlement(unmarked, Outcome.TRANSIENT, marked=False),
    ]

    assert transitions.pass_on(refusals) == {refused.token}

    for claim in (refused, unmarked):
        assert where(claim) == ("running", "claimed")
        assert facts(claim).history == ["transient"]
        assert mark(claim, "backup")
        assert settle(claim, Outcome.SENT, provider="backup") == "completed"
        assert facts(claim).history == ["transient", "sent"]


def test_a_refusal_is_not_passed_on_once_the_job_was_declared_dead():
    claim = marked()
    rescue()

    with nothing_moves(claim):
        assert transitions.pass_on([settlement(claim, Outcome.TRANSIENT)]) == set()
    assert facts(claim).history == ["unknown"], "it is settled, and history has it then"


def test_each_provider_has_a_line_of_history_however_often_it_is_written():
    claim = marked()
    refusal = settlement(claim, Outcome.TRANSIENT, provider="main")
    transitions.pass_on([refusal])
    mark(claim, "backup")
    last = settlement(claim, Outcome.TRANSIENT, provider="backup")

    transitions.settle([last])
    transitions.settle([last, refusal])

    assert facts(claim).history == ["transient", "transient"]


@pytest.mark.parametrize("build", [gated, marked, unknown])
def test_a_mark_whose_answer_was_lost_is_undone_whether_or_not_it_arrived(build):
    claim = build()

    assert transitions.unmark([claim], wait_seconds=3.0) == {claim.token}

    job = facts(claim).job
    assert where(claim) == ("scheduled", "released")
    assert (job.attempts, facts(claim).delivery.claim) == (0, None)


def test_an_unknown_that_was_only_an_unanswered_mark_closes_its_dead_letter():
    claim = marked()
    rescue()

    transitions.unmark([claim], wait_seconds=0)

    assert facts(claim).letters == [("unknown", "late_reply")]


def test_undoing_a_mark_after_somebody_decided_changes_nothing():
    claim = unknown()
    decide(claim, Decision.SEND_AGAIN)

    with nothing_moves(claim):
        assert transitions.unmark([claim], wait_seconds=0) == set()


def test_undoing_marks_of_a_batch_frees_each_by_what_it_is():
    never_gated, gated_, marked_ = claimed(), gated(), marked()
    lost = marked(worker=OTHER_WORKER)
    settle(lost, Outcome.SENT)

    freed = transitions.unmark([never_gated, gated_, marked_, lost], wait_seconds=1)

    assert freed == {never_gated.token, gated_.token, marked_.token}
    assert [where(c)[0] for c in (never_gated, gated_, marked_, lost)] == ["scheduled"] * 3 + ["completed"]


def test_a_job_in_doubt_stays_in_doubt_when_a_later_mark_is_undone():
    first = sent_again()
    second = marked(claimed(first.job_id))

    transitions.unmark([second], wait_seconds=0)

    assert facts(second).job.in_doubt


def test_a_marked_job_is_not_put_back_because_its_message_may_be_out():
    """Were the job alone put back, its row would stay `dot` and the key closed for ever (K1)."""
    claim = marked()

    with nothing_moves(claim):
        assert transitions.put_back([claim], wait_seconds=0) == set()
