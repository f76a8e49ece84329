"""Who is on the suppression list is left out at the gate: the others get their mail, and a job without others ends."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from jobs import omissions, resolutions, suppressions
from jobs.claims import Claim
from jobs.models import Job
from jobs.states import Decision, Outcome, SuppressionReason
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    WORKER,
    an_owner,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gate,
    gated,
    letter,
    mark,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    settle,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db
ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"
NOBODY = (set(), set(), set(), set(), set())


def suppress(*addresses: str, reason: str = "manual", topic: str = "", owner: str = "ann") -> None:
    suppressions.add(an_owner(owner).pk, addresses, reason=SuppressionReason(reason), topic=topic)


def to(*addresses: str, topic: str | None = None, **columns) -> Claim:
    payload: dict[str, Any] = {"to": list(addresses)}
    if topic is not None:
        payload["unsubscribe"] = {"topic": topic} if topic else {}
    return claimed(recipients=list(addresses), payload=payload, **columns)


def leave_out(*claims: Claim) -> omissions.Omissions:
    assert gate(*claims).suppressed == {claim.token for claim in claims}
    return omissions.leave_out(claims, wait_seconds=1.0)


# ── Who is let in ─────────────────────────────────────────────────────────────────────────────


def test_who_has_nobody_on_the_list_is_let_in_by_the_one_statement():
    suppress(BOB)
    claim = to(ANN)

    assert gate(claim).admitted == {claim.token}


@pytest.mark.parametrize("written", ["Ann@Example.org", ANN, "ANN@EXAMPLE.ORG"])
@pytest.mark.parametrize("recipient", ["Ann@example.org", ANN, "aNN@example.org"])
def test_addresses_are_compared_without_regard_to_case(written, recipient):
    suppress(written)
    claim = to(recipient)

    assert gate(claim) == (*NOBODY[:4], {claim.token})


def test_beyond_ascii_postgresql_and_we_agree_what_a_lower_case_letter_is():
    suppress("ÄNN@example.org", "ΣΑΣ@example.org")

    assert len(gate(to("Änn@example.org"), to("ΣΑΣ@example.org")).suppressed) == 2
    assert len(gate(to("änn@example.org"), to("σας@example.org")).admitted) == 2


def test_the_list_is_its_owners_alone():
    suppress(ANN, owner="bob")
    claim = to(ANN)

    assert gate(claim).admitted == {claim.token}


@pytest.mark.parametrize(
    ("listed", "topic", "is_let_in"),
    [
        ("", None, False),  # everything
        ("", "", False),
        ("", "news", False),
        ("news", "news", False),
        ("news", "offers", True),
        ("news", "", True),
        ("news", None, True),  # an invoice
    ],
)
def test_a_suppression_of_a_topic_lets_all_else_through(listed, topic, is_let_in):
    suppress(ANN, topic=listed)
    claim = to(ANN, topic=topic)

    assert bool(gate(claim).admitted) is is_let_in


def test_what_a_handler_does_is_its_own_business():
    """It may reach people in another way than by mail, and could not leave some of them out."""
    suppress(ANN)
    claim = to(ANN, lane="tasks", type="shop.call")

    assert gate(claim).admitted == {claim.token}


def test_a_batch_with_and_without_them_gets_what_each_should():
    suppress(ANN)
    free, mixed, nobody = to(BOB), to(ANN, BOB), to(ANN)

    standing = gate(free, mixed, nobody)

    assert standing == ({free.token}, set(), set(), set(), {mixed.token, nobody.token})


# ── Some are left ─────────────────────────────────────────────────────────────────────────────


def test_the_others_get_their_mail():
    suppress("ann@example.org", reason="complaint")
    suppress(CID, reason="hard_bounce")
    claim = to("Ann@example.org", BOB, CID)

    found = leave_out(claim)

    (admitted,) = found.admitted
    assert admitted.suppressed == ("Ann@example.org", CID)
    assert [str(one) for one in found.omitted] == ["Ann@example.org (complaint)", f"{CID} (hard_bounce)"]
    assert where(claim) == ("running", "claimed")
    assert mark(admitted)
    settle(admitted, Outcome.SENT)
    assert where(claim) == ("completed", "sent")


def test_one_recipient_that_is_listed_twice_is_one():
    suppress(ANN)
    suppress(ANN, topic="news")
    claim = to(ANN, BOB, topic="news")

    assert leave_out(claim).admitted[0].suppressed == (ANN,)


# ── Nobody is left ────────────────────────────────────────────────────────────────────────────


def test_with_nobody_left_the_job_is_a_dead_letter_that_says_who_and_why():
    suppress(ANN, reason="unsubscribe", topic="news")
    suppress(BOB, reason="complaint")
    claim = to(ANN, BOB, topic="news")

    found = leave_out(claim)

    ((ending, status),) = found.ended
    known = facts(claim)
    assert (ending.outcome, status, known.where) == ("suppressed", "failed", ("failed", None))
    assert known.job.last_error == {
        "kind": "suppressed",
        "code": None,
        "detail": "Nobody is left to send to. On the suppression list: "
        f"{ANN} (unsubscribe, topic news), {BOB} (complaint).",
    }
    assert known.letters == [("suppressed", None)]
    assert known.history == ["suppressed"]
    assert ending.worker == WORKER


def test_the_words_about_many_are_bounded():
    many = [f"{'x' * 60}{number}@example.org" for number in range(50)]
    suppress(*many)
    claim = to(*many)

    leave_out(claim)

    detail = facts(claim).job.last_error["detail"]
    assert len(detail) <= 500
    assert detail.endswith("and 45 more.")


def test_lifted_and_requeued_it_is_sent():
    suppress(ANN)
    claim = to(ANN)
    leave_out(claim)
    resolutions.requeue(letter(claim, "suppressed"), by=an_owner().pk)
    still = claimed(claim.job_id)
    leave_out(still)
    suppressions.remove(an_owner().pk, ANN)
    resolutions.requeue(letter(still, "suppressed"), by=an_owner().pk)
    again = gated(claimed(claim.job_id))

    assert mark(again)
    settle(again, Outcome.SENT)
    assert facts(claim).letters == [("suppressed", "requeued")] * 2
    assert facts(claim).history == ["suppressed", "suppressed", "sent"]


def test_a_rival_of_the_key_with_other_recipients_is_not_in_its_way():
    suppress(ANN)
    first, second = to(ANN, key="k"), to(BOB, key="k")

    leave_out(first)

    assert gate(second).admitted == {second.token}


def test_the_key_of_a_rival_that_failed_stays_as_it_was():
    failed(key="k")
    suppress(ANN)
    claim = to(ANN, key="k")

    leave_out(claim)

    assert where(claim) == ("failed", "released")


# ── In doubt ──────────────────────────────────────────────────────────────────────────────────


def in_doubt() -> Claim:
    """Sent again after an unknown, and claimed by another worker; its only recipient was put on the list meanwhile."""
    first = sent_again(recipients=[ANN])
    suppress(ANN)
    return claimed(first.job_id, worker=OTHER_WORKER)


def test_a_job_in_doubt_does_not_fail_but_is_unknown_again():
    claim = in_doubt()

    ((ending, status),) = leave_out(claim).ended

    known = facts(claim)
    assert (ending.outcome, status, known.where) == ("suppressed", "unknown", ("unknown", "unknown"))
    assert known.letters == [("unknown", "send_again"), ("unknown", None)]
    assert known.delivery.claim == claim.token
    assert known.job.last_error["kind"] == "suppressed"


@pytest.mark.parametrize(("decision", "status"), [(Decision.MARK_SENT, "completed"), (Decision.DROP, "failed")])
def test_what_is_unknown_again_can_be_decided(decision, status):
    claim = in_doubt()
    leave_out(claim)

    decide(claim, decision)

    assert facts(claim).job.status == status


def test_a_job_in_doubt_with_others_is_sent_to_them():
    first = sent_again(recipients=[ANN, BOB])
    suppress(ANN)
    claim = claimed(first.job_id)

    assert [c.suppressed for c in leave_out(claim).admitted] == [(ANN,)]


def test_a_late_reply_between_the_two_statements_is_not_overruled():
    first = sent_again(recipients=[ANN])
    suppress(ANN)
    claim = claimed(first.job_id)
    assert gate(claim).suppressed == {claim.token}
    settle(first, Outcome.SENT)

    found = omissions.leave_out([claim], wait_seconds=0.0)

    assert (found.admitted, found.ended, found.put_back) == ([], [], {claim.token})
    assert where(claim) == ("scheduled", "sent")


# ── Who else stands at the gate ───────────────────────────────────────────────────────────────


def test_a_key_that_was_sent_is_a_duplicate_whoever_is_on_the_list():
    sent(key="k")
    suppress(ANN)
    claim = to(ANN, key="k")

    assert gate(claim).duplicates == {claim.token}


@pytest.mark.parametrize("rival", [unknown, dropped])
def test_beside_an_unknown_the_job_is_held_whoever_is_on_the_list(rival):
    rival(key="k")
    suppress(ANN)
    claim = to(ANN, key="k")

    assert gate(claim).held == {claim.token}


def test_a_key_that_another_job_holds_puts_it_back():
    gated(key="k")
    suppress(ANN)
    claim = to(ANN, key="k")

    assert gate(claim).put_back == {claim.token}


def test_a_rival_that_comes_between_the_two_statements_puts_it_back():
    suppress(ANN)
    claim, rival = to(ANN, BOB, key="k"), to(CID, key="k")
    assert gate(claim).suppressed == {claim.token}
    assert gate(rival).admitted == {rival.token}

    found = omissions.leave_out([claim], wait_seconds=1.0)

    assert (found.admitted, found.put_back) == ([], {claim.token})
    assert (facts(claim).job.status, facts(claim).job.attempts) == ("scheduled", 0)


def test_who_was_taken_off_the_list_meanwhile_comes_again():
    suppress(ANN)
    claim = to(ANN)
    gate(claim)
    suppressions.remove(an_owner().pk, ANN)

    assert omissions.leave_out([claim], wait_seconds=0.0).put_back == {claim.token}

    assert where(claim) == ("scheduled", None)


# ── Guards ────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_was_taken_back_meanwhile_is_left_alone():
    suppress(ANN)
    claim = to(ANN)
    gate(claim)
    rescue()

    with nothing_moves(claim):
        assert omissions.leave_out([claim], wait_seconds=1.0) == ([], [], set(), [])


def test_a_newer_claim_is_left_alone():
    suppress(ANN)
    old = to(ANN)
    gate(old)
    rescue()
    new = claimed(old.job_id, worker=OTHER_WORKER)

    with nothing_moves(new):
        assert omissions.leave_out([old], wait_seconds=1.0) == ([], [], set(), [])


def test_a_job_that_has_passed_the_gate_is_not_asked_again():
    claim = gated(recipients=[ANN])
    suppress(ANN)

    with nothing_moves(claim):
        assert gate(claim) == NOBODY


def test_it_is_one_transaction_which_happens_or_does_not():
    suppress(ANN)
    first, second = to(ANN), to(ANN, BOB)
    gate(first, second)
    sql("ALTER TABLE jobs_attempt ADD CONSTRAINT nothing CHECK (outcome <> 'suppressed') NOT VALID")

    with nothing_moves(first, second), pytest.raises(IntegrityError, match="nothing"), transaction.atomic():
        omissions.leave_out([first, second], wait_seconds=1.0)

    assert Job.objects.get(pk=second.job_id).status == "running"
