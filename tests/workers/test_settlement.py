"""From what happened to what is written, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import settlements
from jobs.claims import Claim
from jobs.conf import tunables
from jobs.errors import ClaimLost, DeliveryError, Invalid, Permanent, Transient, Unanswered
from jobs.states import Outcome
from workers import settlement
from workers.channels.base import MailReceipt, Refusal

WORKER = UUID(int=10)


def claim(**changes) -> Claim:
    facts = {
        "job_id": uuid4(),
        "token": 7,
        "dedupe_hash": bytes(16),
        "type": "email",
        "payload": {},
        "attempt": 1,
        "max_attempts": 5,
        "priority": "default",
        "provider": None,
        "correlation_id": "c-1",
        "claimed_at": datetime(2026, 11, 22, tzinfo=UTC),
    }
    return Claim(**facts | changes)


def of_error(error, *, marked=False, **changes):
    return settlement.of_error(
        claim(**changes),
        error,
        worker=WORKER,
        provider="main",
        marked=marked,
        took_seconds=0.5,
        conf=tunables(),
    )


OUTCOMES = [  # error, before the mark, after it
    (Transient(), Outcome.TRANSIENT, Outcome.TRANSIENT),
    (Permanent(), Outcome.PERMANENT, Outcome.PERMANENT),
    (Invalid(), Outcome.INVALID, Outcome.INVALID),
    (Unanswered(), Outcome.UNKNOWN, Outcome.UNKNOWN),
    (ZeroDivisionError(), Outcome.TRANSIENT, Outcome.UNKNOWN),
    (TimeoutError(), Outcome.TRANSIENT, Outcome.UNKNOWN),
    (DeliveryError(), Outcome.TRANSIENT, Outcome.UNKNOWN),
    (ClaimLost(), Outcome.TRANSIENT, Outcome.UNKNOWN),
    (None, Outcome.TRANSIENT, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("error", "before", "after"), OUTCOMES)
def test_only_after_the_mark_can_an_outcome_be_unknowable(error, before, after):
    assert of_error(error, marked=False).outcome is before
    assert of_error(error, marked=True).outcome is after


def test_a_refusal_keeps_the_other_sides_words():
    written = of_error(Permanent("5.1.1 No such\r\nuser", kind="refused", code=550), marked=True)

    assert written.error == {"kind": "refused", "code": 550, "detail": "5.1.1 No such  user"}
    assert (written.worker, written.provider, written.marked, written.took_seconds) == (WORKER, "main", True, 0.5)


def test_the_wait_grows_with_the_attempt():
    first, third = (of_error(Transient(), attempt=attempt).wait_seconds for attempt in (1, 3))

    assert 0.8 <= first <= 1.2
    assert 3.2 <= third <= 4.8


def test_the_other_sides_time_is_a_floor():
    assert of_error(Transient(retry_after=90.0)).wait_seconds == 90.0


def test_a_receipt_says_who_took_it_and_who_was_refused():
    receipt = MailReceipt(
        provider="main",
        code=250,
        detail="ok",
        message_id="<1@x>",
        accepted=("ann@example.org",),
        refused=(Refusal("bob@example.org", 550, "no\0pe"),),
    )

    written = settlement.of_receipt(claim(), receipt, worker=WORKER, marked=True, took_seconds=0.5)

    assert written.outcome is Outcome.SENT
    assert written.marked
    assert written.result == {
        "message_id": "<1@x>",
        "provider": "main",
        "reply": {"code": 250, "detail": "ok"},
        "accepted": ["ann@example.org"],
        "refused": [{"address": "bob@example.org", "code": 550, "detail": "no pe"}],
    }


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_whatever_they_say_fits_into_a_row_and_a_log(text):
    cleaned = settlements.clean(text)

    assert cleaned.isprintable() or not cleaned
    assert len(cleaned) <= settlements.LONGEST_DETAIL
    assert cleaned.encode().decode() == cleaned
    assert settlements.clean(cleaned) == cleaned
