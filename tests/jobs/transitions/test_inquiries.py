"""Asking providers about unknowns: when, about which, and what each answer moves (PROTOCOL "settle sent", trace 9)."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
from django.db import transaction
from msgspec.structs import replace

from jobs import chores, inquiries
from jobs.inquiries import Answer, Inquiry
from jobs.models import Attempt, DeadLetter, Delivery
from jobs.states import Decision, Outcome
from tests.jobs.transitions.beside import others
from tests.jobs.transitions.builders import (
    ago,
    an_owner,
    claimed,
    decide,
    facts,
    gated,
    held,
    letter,
    mark,
    marked,
    sent_again,
    settle,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db(transaction=True)

WAITS = (5.0, 30.0, 120.0)
PATIENCE = 600.0
YES, NO = Answer("mailgun", True, "Event 'accepted'."), Answer("mailgun", False, "Not in the book.")
CANNOT_SAY = Answer("mailgun", None, "No event so far.")


def due(provider: str = "main", *, limit: int = 10) -> list[Inquiry]:
    return inquiries.claim_due(provider, waits=WAITS, patience_seconds=PATIENCE, limit=limit)


def conclude(inquiry: Inquiry, answer: Answer) -> str | None:
    status = inquiries.conclude(inquiry, answer, wait_seconds=1.0, message_id="<1@example.org>")
    return status.value if status else None


def buried(claim, *, died: float, asked: float | None = None, asks: int = 0, marked: float = 0.0) -> int:
    """All in seconds ago."""
    id = letter(claim)
    times = {"died_at": ago(died), "asked_at": None if asked is None else ago(asked), "asks": asks}
    DeadLetter.objects.filter(id=id).update(**times)
    Delivery.objects.filter(claim=claim.token).update(dot_at=ago(marked or died))
    return id


def an_inquiry(claim=None, *, is_dot_over: bool = True, **columns) -> Inquiry:
    claim = claim or unknown(**columns)
    buried(claim, died=PATIENCE + 10 if is_dot_over else 10)
    (inquiry,) = due()
    assert inquiry.is_dot_over is is_dot_over
    return inquiry


# ── When ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("died", "asked", "asks", "is_due"),
    [
        (4, None, 0, False),  # a late reply is nearer
        (6, None, 0, True),
        (36, 29, 1, False),
        (36, 31, 1, True),
        (150, 119, 2, False),
        (150, 121, 2, True),
        (500, 400, 3, False),  # all waits are over: nobody asks any more
    ],
)
def test_questions_come_soon_and_then_less_and_less_often(died, asked, asks, is_due):
    claim = unknown()
    id = buried(claim, died=died, asked=asked, asks=asks)

    found = due()

    assert [inquiry.dead_letter for inquiry in found] == ([id] if is_due else [])
    assert DeadLetter.objects.get(id=id).asks == asks + is_due


@pytest.mark.parametrize(("marked_", "asked", "is_due"), [(599, 20, False), (601, 20, True), (650, 20, False)])
def test_when_the_patience_is_over_it_is_asked_once_out_of_turn(marked_, asked, is_due):
    claim = unknown()
    buried(claim, died=599, asked=asked, asks=1, marked=marked_)

    assert [inquiry.is_dot_over for inquiry in due()] == ([True] if is_due else [])


def test_a_question_that_was_claimed_is_nobody_elses_for_now():
    claim = unknown()
    buried(claim, died=6)

    assert len(due()) == 1
    assert due() == []


def test_an_inquiry_carries_the_claim_as_a_worker_held_it():
    claim = unknown(max_attempts=3)
    buried(claim, died=6)

    (inquiry,) = due()

    assert replace(inquiry.claim, claimed_at=claim.claimed_at) == claim
    assert inquiry.provider == "main"
    assert not inquiry.is_dot_over


def test_only_who_can_be_asked_is_asked_about_and_only_what_is_open():
    decided, waiting, elsewhere = unknown(), unknown(key="k"), gated()
    mark(elsewhere, provider="backup")
    settle(elsewhere, Outcome.UNKNOWN)
    held(behind=waiting)
    for claim in (decided, waiting, elsewhere):
        buried(claim, died=6)
    decide(decided, Decision.DROP)

    assert [inquiry.claim.token for inquiry in due()] == [waiting.token]
    assert [inquiry.claim.token for inquiry in due("backup")] == [elsewhere.token]


def test_who_has_waited_longest_is_asked_about_first():
    claims = [unknown() for _ in range(3)]
    for claim, died in zip(claims, (7, 9, 8), strict=True):
        buried(claim, died=died)

    found = [inquiry.claim.token for _ in claims for inquiry in due(limit=1)]

    assert found == [claims[1].token, claims[2].token, claims[0].token]


def test_two_clocks_at_once_share_the_questions():
    letters = set()
    for _ in range(20):
        letters.add(buried(unknown(), died=6))
    start = threading.Barrier(2)

    def ask() -> list[int]:
        start.wait(20)
        return [inquiry.dead_letter for inquiry in due(limit=20)]

    with others() as them:
        found = [future.result(30) for future in (them.start(ask), them.start(ask))]

    assert sorted(found[0] + found[1] + [inquiry.dead_letter for inquiry in due(limit=20)]) == sorted(letters)
    assert set(DeadLetter.objects.values_list("asks", flat=True)) == {1}


def test_a_letter_that_somebody_is_deciding_is_skipped_not_waited_for():
    claim, other = unknown(), unknown()
    buried(claim, died=6)
    buried(other, died=6)
    is_locked, may_go = threading.Event(), threading.Event()

    def hold_the_letter():
        with transaction.atomic():
            sql("SELECT FROM jobs_deadletter WHERE claim = %s FOR UPDATE", claim.token)
            is_locked.set()
            assert may_go.wait(20)

    with others() as them:
        holding = them.start(hold_the_letter)
        assert is_locked.wait(20)
        found = due()
        may_go.set()
        holding.result(20)

    assert [inquiry.claim.token for inquiry in found] == [other.token]


# ── What an answer moves ──────────────────────────────────────────────────────────────────────


def told(inquiry: Inquiry) -> list[tuple[str, bool | None, str]]:
    entries = DeadLetter.objects.get(id=inquiry.dead_letter).evidence
    assert all(set(entry) == {"asked_at", "answered", "source", "accepted", "detail"} for entry in entries)
    return [(entry["source"], entry["accepted"], entry["detail"]) for entry in entries]


@pytest.mark.parametrize("is_dot_over", [False, True])
def test_a_yes_settles_it_like_a_late_2xx(is_dot_over):
    inquiry = an_inquiry(is_dot_over=is_dot_over)

    assert conclude(inquiry, YES) == "completed"

    known = facts(inquiry.claim)
    assert known.where == ("completed", "sent")
    assert known.letters == [("unknown", "evidence")]
    assert known.history == ["unknown", "sent"]
    assert known.job.result == {
        "message_id": "<1@example.org>",
        "provider": "main",
        "evidence": "mailgun: Event 'accepted'.",
    }
    attempt = Attempt.objects.get(job_id=known.job.id, outcome="sent")
    assert (attempt.kind, attempt.provider, attempt.worker) == ("evidence", "main", None)
    assert attempt.detail == "mailgun: Event 'accepted'."
    assert told(inquiry) == [("mailgun", True, "Event 'accepted'.")]
    assert DeadLetter.objects.get(id=inquiry.dead_letter).resolved_by is None


def test_a_no_is_only_noted_while_a_paused_worker_could_still_write_its_dot():
    inquiry = an_inquiry(is_dot_over=False)

    assert conclude(inquiry, NO) is None

    assert where(inquiry.claim) == ("unknown", "unknown")
    assert facts(inquiry.claim).history == ["unknown"]
    assert told(inquiry) == [("mailgun", False, "Not in the book.")]


def test_a_no_that_counts_settles_it_like_a_late_4xx():
    inquiry = an_inquiry()

    assert conclude(inquiry, NO) == "scheduled"

    known = facts(inquiry.claim)
    assert known.where == ("scheduled", "released")
    assert known.letters == [("unknown", "evidence")]
    assert known.history == ["unknown", "transient"]
    assert known.job.last_error == {"kind": "evidence", "code": None, "detail": "mailgun: Not in the book."}
    assert known.job.attempts == 1


def test_a_no_on_the_last_attempt_is_a_dead_letter_of_a_mail_that_was_not_sent():
    inquiry = an_inquiry(max_attempts=1)

    assert conclude(inquiry, NO) == "failed"

    assert where(inquiry.claim) == ("failed", "released")
    assert facts(inquiry.claim).letters == [("unknown", "evidence"), ("exhausted", None)]


def test_a_no_about_a_job_in_doubt_without_attempts_leaves_it_unknown():
    """Trace 9: the book that was asked is not the book of the dot before it."""
    first = sent_again(max_attempts=1)
    second = unknown(claimed(first.job_id))
    inquiry = an_inquiry(second)

    assert conclude(inquiry, NO) == "unknown"

    assert where(second) == ("unknown", "unknown")
    assert facts(second).letters == [("unknown", "send_again"), ("unknown", None)]
    assert told(inquiry) == [("mailgun", False, "Not in the book.")]


def test_what_cannot_be_said_is_only_noted_in_order():
    inquiry = an_inquiry()
    conclude(inquiry, CANNOT_SAY)
    conclude(inquiry, Answer("mailgun", None, "Mailgun answered 503."))

    assert where(inquiry.claim) == ("unknown", "unknown")
    assert facts(inquiry.claim).history == ["unknown"]
    assert told(inquiry) == [("mailgun", None, "No event so far."), ("mailgun", None, "Mailgun answered 503.")]


def test_the_time_of_a_question_is_postgresqls():
    inquiry = an_inquiry()
    conclude(inquiry, CANNOT_SAY)

    row = DeadLetter.objects.get(id=inquiry.dead_letter)
    assert row.evidence[0]["asked_at"].startswith(row.asked_at.isoformat()[:19])


def test_the_same_answer_twice_is_written_once():
    inquiry = an_inquiry()

    assert conclude(inquiry, YES) == "completed"
    assert conclude(inquiry, YES) is None

    assert facts(inquiry.claim).history == ["unknown", "sent"]


# ── Somebody else was first ───────────────────────────────────────────────────────────────────


def test_a_late_reply_before_a_yes_leaves_one_line_of_history():
    inquiry = an_inquiry()
    assert settle(inquiry.claim, Outcome.SENT) == "completed"

    assert conclude(inquiry, YES) is None

    assert facts(inquiry.claim).letters == [("unknown", "late_reply")]
    assert facts(inquiry.claim).history == ["unknown", "sent"]
    assert told(inquiry) == [("mailgun", True, "Event 'accepted'.")], "it was said all the same"


def test_a_late_reply_after_a_yes_changes_nothing():
    inquiry = an_inquiry()
    conclude(inquiry, YES)

    assert settle(inquiry.claim, Outcome.SENT) is None
    assert facts(inquiry.claim).letters == [("unknown", "evidence")]
    assert facts(inquiry.claim).history == ["unknown", "sent"]


@pytest.mark.parametrize(
    ("decision", "after"),
    [
        (Decision.MARK_SENT, ("completed", "sent")),
        (Decision.SEND_AGAIN, ("completed", "sent")),  # not retaken yet: what was accepted is not sent again
        (Decision.DROP, ("completed", "sent")),
    ],
)
def test_a_yes_after_a_persons_decision_counts_as_a_late_2xx_does(decision, after):
    inquiry = an_inquiry()
    decide(inquiry.claim, decision)

    conclude(inquiry, YES)

    assert where(inquiry.claim) == after
    assert facts(inquiry.claim).letters == [("unknown", decision.value)], "the decision stands as it was made"
    assert facts(inquiry.claim).history == ["unknown", "sent"]


@pytest.mark.parametrize(
    ("decision", "after"),
    [
        (Decision.MARK_SENT, ("completed", "sent")),
        (Decision.SEND_AGAIN, ("queued", "released")),
        (Decision.DROP, ("failed", "dropped")),
    ],
)
def test_a_no_after_a_persons_decision_is_history_only(decision, after):
    inquiry = an_inquiry()
    decide(inquiry.claim, decision)

    assert conclude(inquiry, NO) is None

    assert where(inquiry.claim) == after
    assert facts(inquiry.claim).history == ["unknown", "transient"]


def test_a_yes_after_a_newer_claim_took_the_key_leaves_that_one_alone():
    inquiry = an_inquiry()
    decide(inquiry.claim, Decision.SEND_AGAIN)
    newer = marked(claimed(inquiry.claim.job_id))

    assert conclude(inquiry, YES) is None

    assert where(newer) == ("running", "dot")
    assert settle(newer, Outcome.SENT) == "completed"


def test_an_answer_about_a_letter_that_is_gone_does_no_harm():
    inquiry = an_inquiry()
    settle(inquiry.claim, Outcome.SENT)
    DeadLetter.objects.all().delete()

    assert conclude(inquiry, CANNOT_SAY) is None


ROUNDS = 8


@pytest.mark.slow
@pytest.mark.parametrize("answer", [YES, NO])
def test_evidence_a_person_and_a_late_reply_at_once_make_one_ending(answer):
    """Whoever is first settles it; the history has each word once, and the books balance."""
    with others() as them:
        for _ in range(ROUNDS):
            inquiry = an_inquiry()
            claim, start = inquiry.claim, threading.Barrier(3)

            def at_once(act, start=start):
                start.wait(20)
                try:
                    return act()
                except Exception as error:
                    return type(error).__name__

            acts = [
                lambda i=inquiry: conclude(i, answer),
                lambda c=claim: decide(c, Decision.DROP, by=an_owner().pk),
                lambda c=claim: settle(c, Outcome.SENT),
            ]
            said = [future.result(30) for future in [them.start(at_once, act) for act in acts]]

            known = facts(claim)
            (resolution,) = {resolution for _, resolution in known.letters}
            assert resolution in {"evidence", "drop", "late_reply"}
            assert said[1] in (None, "TooLate")
            assert (said[1] is None) == (resolution == "drop")
            assert sorted(known.history) == sorted({"unknown", "sent", "sent" if answer is YES else "transient"})
            if answer is YES or resolution != "evidence":
                assert known.where == ("completed", "sent"), "accepted is accepted, whoever came first"
            else:  # the book lied about a mail under way: history has both words, for whoever looks
                assert known.where == ("scheduled", "released")


# ── Policies ──────────────────────────────────────────────────────────────────────────────────


def is_due_when(*askable: str) -> bool:
    return bool(chores.policy_due(patience_seconds=PATIENCE, asking_seconds=600.0, askable=askable, limit=10))


def answered(claim, seconds_ago: float, *, answered: bool = True) -> None:
    entry = {"asked_at": ago(seconds_ago).isoformat(), "answered": answered, "source": "inbox", "accepted": None}
    DeadLetter.objects.filter(id=letter(claim)).update(evidence=[entry])


@pytest.mark.parametrize(("askable", "is_due"), [((), True), (("backup",), True), (("main",), False)])
def test_a_policy_waits_until_its_provider_was_asked_once_more(askable, is_due):
    claim = unknown(on_unknown="resend")
    buried(claim, died=PATIENCE + 30, asked=31, asks=3)
    answered(claim, 31)  # and not since the patience is over

    assert is_due_when(*askable) is is_due
    answered(claim, 20)
    assert is_due_when(*askable)


def test_a_policy_does_not_take_silence_for_an_answer():
    claim = unknown(on_unknown="resend")
    buried(claim, died=PATIENCE + 30, asked=20, asks=2)

    answered(claim, 20, answered=False)

    assert not is_due_when("main")


@pytest.mark.parametrize(
    ("on_unknown", "asked", "is_silent", "is_due_again"),
    [
        ("resend", 61, True, True),
        ("resend", 59, True, False),
        ("resend", 61, False, False),
        ("hold", 61, True, False),  # nobody waits for the answer
    ],
)
def test_who_does_not_answer_while_a_policy_waits_is_asked_again(on_unknown, asked, is_silent, is_due_again):
    claim = unknown(on_unknown=on_unknown)
    buried(claim, died=PATIENCE + 70, asked=asked, asks=2)

    answered(claim, asked, answered=not is_silent)

    assert bool(due()) is is_due_again


def test_nobody_is_asked_for_a_policy_that_waits_no_longer():
    claim = unknown(on_unknown="resend")
    buried(claim, died=PATIENCE + 601, asked=61, asks=2)

    assert not due()


def test_an_answer_is_of_the_time_of_its_question():
    inquiry = an_inquiry()
    DeadLetter.objects.filter(id=inquiry.dead_letter).update(asked_at=ago(-5))  # another scheduler asks meanwhile

    conclude(inquiry, CANNOT_SAY)

    (entry,) = DeadLetter.objects.get(id=inquiry.dead_letter).evidence
    assert datetime.fromisoformat(entry["asked_at"]) == inquiry.asked_at


def test_a_question_whose_answer_is_not_written_down_is_none():
    claim = unknown(on_unknown="resend")

    buried(claim, died=PATIENCE + 30, asked=5, asks=4)

    assert not is_due_when("main")
    assert is_due_when("backup")


@pytest.mark.parametrize(("died", "marked"), [(PATIENCE, PATIENCE), (0, PATIENCE + 5_000)])
def test_a_policy_waits_no_longer_for_a_question_than_is_set(died, marked):
    """From when it may be asked about: for the patience to be over, and for it to be buried."""
    claim = unknown(on_unknown="resend")

    buried(claim, died=died + 599, marked=marked + 599)
    assert not is_due_when("main")
    buried(claim, died=died + 601, marked=marked + 601)
    assert is_due_when("main")
