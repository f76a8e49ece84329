"""Settlement: how a trip ended, written once, on every row it concerns."""

from __future__ import annotations

import pytest

from jobs import transitions
from jobs.models import Attempt, DeadLetter
from jobs.states import Decision, Outcome, Status
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    WORKER,
    a_job,
    claimed,
    decide,
    facts,
    failed,
    gate,
    gated,
    hash_of,
    letter,
    marked,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    settle,
    settlement,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


# ── Sent ──────────────────────────────────────────────────────────────────────────────────────


def test_a_sent_job_is_complete_with_what_the_other_side_said():
    claim = marked()

    assert settle(claim, Outcome.SENT, result={"reply": "250 OK"}, provider="main", code=250) == "completed"

    found = facts(claim)
    assert found.where == ("completed", "sent")
    assert found.job.result == {"reply": "250 OK"}
    assert found.job.finished_at is not None
    assert found.delivery.settled_at is not None
    assert found.history == ["sent"]


def test_what_may_be_repeated_is_marked_and_settled_at_once():
    claim = gated()

    assert settle(claim, Outcome.SENT, marked=False, provider="nowhere", result={"sum": 3}) == "completed"

    found = facts(claim)
    assert found.where == ("completed", "sent")
    assert found.delivery.provider == "nowhere"
    assert found.delivery.dot_at == found.delivery.settled_at is not None
    assert found.history == ["sent"]


def test_marked_and_unmarked_are_settled_together():
    mail, sums, other = marked(), gated(), marked()
    ends = [settlement(c, Outcome.SENT, marked=c is not sums, provider="main") for c in (mail, sums, other)]

    assert transitions.settle(ends) == dict.fromkeys((c.token for c in (mail, sums, other)), Status.COMPLETED)
    assert {where(c) for c in (mail, sums, other)} == {("completed", "sent")}


@pytest.mark.parametrize("stands", [marked, unknown, sent, failed, sent_again])
def test_without_a_mark_only_a_claimed_row_is_settled(stands):
    """A mail that was marked can only be settled as such: to settle it unmarked would be a mistake of ours."""
    claim = stands()

    with nothing_moves(claim):
        assert settle(claim, Outcome.SENT, marked=False) is None


def test_the_history_says_who_did_what_and_how_long_it_took():
    claim = marked()

    settle(claim, Outcome.TRANSIENT, provider="main", kind="greylisted", code=451, detail="later", took_seconds=2)

    line = Attempt.objects.get(job_id=claim.job_id)
    assert (line.number, line.worker, line.provider) == (1, WORKER, "main")
    assert (line.outcome, line.kind, line.code, line.detail) == ("transient", "greylisted", 451, "later")
    assert (line.ended_at - line.started_at).total_seconds() == 2


def test_a_late_success_closes_the_unknown_by_itself():
    claim = marked()
    rescue()
    assert facts(claim).letters == [("unknown", None)]

    assert settle(claim, Outcome.SENT) == "completed"

    assert facts(claim).letters == [("unknown", "late_reply")]
    assert DeadLetter.objects.get(job_id=claim.job_id).resolved_by is None


def test_a_late_success_after_a_drop_says_that_it_was_sent():
    claim = unknown()
    decide(claim, Decision.DROP)

    assert settle(claim, Outcome.SENT) == "completed"

    assert facts(claim).where == ("completed", "sent")
    assert facts(claim).letters == [("unknown", "drop")]


def test_a_late_success_after_send_again_spares_the_second_message():
    claim = sent_again()

    assert settle(claim, Outcome.SENT) == "completed"

    assert not facts(claim).job.in_doubt
    assert transitions.claim([claim.job_id], worker=OTHER_WORKER) == []


def test_a_late_success_leaves_a_job_that_runs_again_to_its_gate():
    old = sent_again()
    new = claimed(old.job_id, worker=OTHER_WORKER)

    settle(old, Outcome.SENT)

    assert facts(new).job.status == "running"
    assert gate(new).duplicates == {new.token}
    assert facts(new).where == ("completed", "sent")


def test_a_late_success_that_a_newer_gate_overtook_is_only_told_in_the_history():
    old = sent_again()
    new = gated(claimed(old.job_id, worker=OTHER_WORKER))

    with nothing_moves(new):
        assert settle(old, Outcome.SENT) is None

    assert facts(new).history == ["unknown", "sent"]


# ── Refused ───────────────────────────────────────────────────────────────────────────────────


def test_a_transient_refusal_waits_as_long_as_it_was_told_and_frees_the_key():
    claim = marked(key="k")
    before = facts(claim).job.updated_at

    assert settle(claim, Outcome.TRANSIENT, wait_seconds=120, kind="greylisted", code=451) == "scheduled"

    job = facts(claim).job
    assert 119 < (job.run_at - before).total_seconds() < 140
    assert job.last_error == {"kind": "greylisted", "code": 451, "detail": "said so"}
    assert (facts(claim).delivery.state, facts(claim).delivery.claim) == ("released", None)
    assert facts(claim).letters == []
    assert gate(claimed(key="k")).admitted


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Outcome.PERMANENT, "permanent"), (Outcome.INVALID, "invalid"), (Outcome.TRANSIENT, "exhausted")],
)
def test_a_final_refusal_is_a_dead_letter_with_its_reason(outcome, reason):
    claim = marked(max_attempts=1)

    assert settle(claim, outcome, kind="mailbox", code=550) == "failed"

    dead = DeadLetter.objects.get(job_id=claim.job_id)
    assert (dead.reason, dead.claim, dead.resolution) == (reason, claim.token, None)
    assert dead.error == {"kind": "mailbox", "code": 550, "detail": "said so"}
    assert facts(claim).where == ("failed", "released")


def test_a_transient_refusal_with_attempts_left_is_no_dead_letter():
    claim = marked(max_attempts=2)

    assert settle(claim, Outcome.TRANSIENT) == "scheduled"

    assert facts(claim).letters == []


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, Outcome.PERMANENT])
def test_a_late_refusal_closes_the_unknown_because_now_it_is_known(outcome):
    claim = unknown()

    assert settle(claim, outcome) in {"scheduled", "failed"}

    assert ("unknown", "late_reply") in facts(claim).letters
    assert facts(claim).delivery.state == "released"


def test_a_late_refusal_after_a_decision_moves_nothing():
    claim = unknown()
    decide(claim, Decision.DROP)

    with nothing_moves(claim):
        assert settle(claim, Outcome.PERMANENT) is None

    assert facts(claim).history == ["unknown", "permanent"]


# ── In doubt ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Outcome.PERMANENT, Outcome.INVALID])
@pytest.mark.parametrize("is_marked", [True, False])
def test_a_final_refusal_of_a_job_in_doubt_is_unknown_again_because_the_first_dot_may_be_out(outcome, is_marked):
    first = sent_again()
    second = gated(claimed(first.job_id))
    if is_marked:
        transitions.mark([(second, "main")])

    assert settle(second, outcome, marked=is_marked) == "unknown"

    assert facts(second).where == ("unknown", "unknown")
    assert facts(second).delivery.claim == second.token
    assert facts(second).letters == [("unknown", "send_again"), ("unknown", None)]


def test_the_last_transient_refusal_of_a_job_in_doubt_is_unknown_again():
    first = sent_again(max_attempts=1)
    second = marked(claimed(first.job_id))

    assert settle(second, Outcome.TRANSIENT) == "unknown"


def test_a_transient_refusal_of_a_job_in_doubt_is_tried_again_and_stays_in_doubt():
    first = sent_again()
    second = marked(claimed(first.job_id))

    assert settle(second, Outcome.TRANSIENT) == "scheduled"

    assert facts(second).job.in_doubt


def test_a_late_final_refusal_of_a_job_in_doubt_leaves_its_dead_letter_open():
    """It stays unknown; were its letter closed as answered, nobody could ever decide it."""
    first = sent_again()
    second = marked(claimed(first.job_id, worker=OTHER_WORKER))
    rescue(OTHER_WORKER)

    assert settle(second, Outcome.PERMANENT, code=550) == "unknown"

    assert facts(second).letters == [("unknown", "send_again"), ("unknown", None)]
    decide(second, Decision.MARK_SENT)
    assert facts(second).where == ("completed", "sent")


# ── No reply ──────────────────────────────────────────────────────────────────────────────────


def test_a_message_without_a_reply_is_unknown_and_shown_with_its_evidence():
    claim = marked()

    assert settle(claim, Outcome.UNKNOWN, kind="no_reply", provider="main", detail="no reply for 600 s") == "unknown"

    found = facts(claim)
    assert found.where == ("unknown", "unknown")
    assert found.job.finished_at is None
    dead = DeadLetter.objects.get(pk=letter(claim))
    assert dead.error == {"kind": "no_reply", "code": None, "detail": "no reply for 600 s"}
    assert found.delivery.dot_at is not None


def test_no_reply_to_a_job_that_was_already_declared_unknown_is_the_same_episode():
    claim = marked()
    rescue()

    with nothing_moves(claim):
        assert settle(claim, Outcome.UNKNOWN) is None


# ── Groups ────────────────────────────────────────────────────────────────────────────────────


def test_a_group_of_all_outcomes_is_one_commit_with_an_answer_for_each():
    ends = [Outcome.SENT, Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.INVALID, Outcome.UNKNOWN]
    claims = [marked() for _ in ends]
    lost = marked(worker=OTHER_WORKER)
    decide(unknown_of(lost), Decision.DROP)
    group = [settlement(c, end, detail=f"d{c.token}") for c, end in zip(claims, ends, strict=True)]

    moved = transitions.settle([*group, settlement(lost, Outcome.PERMANENT)])

    expected = [Status.COMPLETED, Status.SCHEDULED, Status.FAILED, Status.FAILED, Status.UNKNOWN]
    assert moved == dict(zip([c.token for c in claims], expected, strict=True))
    for claim in claims[1:]:
        assert facts(claim).job.last_error["detail"] == f"d{claim.token}"


def unknown_of(claim):
    settle(claim, Outcome.UNKNOWN)
    return claim


def test_every_settlement_of_a_group_keeps_its_own_words_whatever_the_order_of_its_rows():
    claims = [marked() for _ in range(8)]

    transitions.settle(
        [settlement(c, Outcome.SENT, result={"token": c.token}) for c in claims[::2]]
        + [settlement(c, Outcome.TRANSIENT, kind=f"k{c.token}", wait_seconds=c.token) for c in claims[1::2]]
    )

    for c in claims[::2]:
        assert facts(c).job.result == {"token": c.token}
    for c in claims[1::2]:
        assert facts(c).job.last_error["kind"] == f"k{c.token}"


def test_whole_and_broken_seconds_may_stand_in_one_group():
    claims = [marked(), marked()]

    moved = transitions.settle(
        [
            settlement(claims[0], Outcome.TRANSIENT, wait_seconds=1, took_seconds=0),
            settlement(claims[1], Outcome.TRANSIENT, wait_seconds=0.5, took_seconds=0.25),
        ]
    )

    assert len(moved) == 2


def test_an_empty_group_writes_nothing():
    job_id = a_job()

    assert transitions.settle([]) == {}

    assert facts(job_id).history == []


def test_a_job_whose_rows_retention_took_still_gets_its_history():
    claim = marked()
    sql("DELETE FROM jobs_delivery")
    sql("DELETE FROM jobs_job")

    assert transitions.settle([settlement(claim, Outcome.TRANSIENT)]) == {}

    assert Attempt.objects.get(claim=claim.token).outcome == "transient"


def test_two_jobs_of_one_key_in_one_group_do_not_answer_for_each_other():
    first = failed(key="k")
    second = marked(key="k")
    third = sent(key="other")

    moved = transitions.settle([settlement(first, Outcome.SENT), settlement(second, Outcome.TRANSIENT)])

    assert moved == {second.token: Status.SCHEDULED}
    assert where(first) == ("failed", "released")
    assert bytes(facts(third).job.dedupe_hash) == hash_of("other")
