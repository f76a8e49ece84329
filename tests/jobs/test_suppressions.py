"""The suppression list: who is put on it, once, and who is taken off."""

from __future__ import annotations

from uuid import uuid4

import pytest

from jobs import suppressions
from jobs.errors import InvalidRequest, NotFound
from jobs.models import Suppression
from jobs.states import SuppressionReason
from tests.jobs.transitions.builders import an_owner

pytestmark = pytest.mark.django_db
MANUAL, BOUNCE = SuppressionReason.MANUAL, SuppressionReason.HARD_BOUNCE


def test_an_address_is_put_on_the_list_once_and_what_was_written_first_stands():
    ann, job_id = an_owner().pk, uuid4()

    assert (
        suppressions.add(ann, ["Ann@Example.org", "bob@example.org"], reason=BOUNCE, detail="550", job_id=job_id) == 2
    )
    assert suppressions.add(ann, ["ann@example.ORG", "cid@example.org"], reason=MANUAL) == 1

    row = Suppression.objects.get(address="ann@example.org")
    assert (row.owner_id, row.topic, row.reason, row.detail, row.job_id) == (ann, "", "hard_bounce", "550", job_id)


def test_one_address_twice_in_a_call_is_one():
    assert suppressions.add(an_owner().pk, ["ann@example.org", "Ann <ANN@example.org>"], reason=MANUAL) == 1


def test_owners_and_topics_do_not_meet():
    ann, bob = an_owner().pk, an_owner("bob").pk

    added = [
        suppressions.add(owner, ["eve@example.org"], reason=MANUAL, topic=topic)
        for owner, topic in [(ann, ""), (ann, "news"), (bob, "")]
    ]

    assert added == [1, 1, 1]
    suppressions.remove(ann, "EVE@example.org", topic="news")
    left = Suppression.objects.values_list("owner_id", "topic").order_by("id")
    assert list(left) == [(ann, ""), (bob, "")]


def test_nobody_is_added_when_one_is_no_address():
    with pytest.raises(InvalidRequest) as refusal:
        suppressions.add(an_owner().pk, ["ann@example.org", "nobody", "a@b@c"], reason=MANUAL)

    assert set(refusal.value.fields) == {"addresses[1]", "addresses[2]"}
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("topic", ["News", "a b", "-x", "x" * 101, "é"])
def test_what_is_no_topic_is_refused(topic):
    with pytest.raises(InvalidRequest, match="topic"):
        suppressions.add(an_owner().pk, ["ann@example.org"], reason=MANUAL, topic=topic)


def test_nobody_is_nothing_to_do():
    assert suppressions.add(an_owner().pk, [], reason=MANUAL) == 0


def test_who_is_not_on_the_list_cannot_be_taken_off():
    suppressions.add(an_owner().pk, ["ann@example.org"], reason=MANUAL, topic="news")

    with pytest.raises(NotFound):
        suppressions.remove(an_owner().pk, "ann@example.org")


def test_somebody_elses_words_are_made_fit_for_a_row():
    suppressions.add(an_owner().pk, ["ann@example.org"], reason=BOUNCE, detail="550\0 no\r\nsuch " + "x" * 600)

    assert Suppression.objects.get().detail.startswith("550  no  such xxx")
    assert len(Suppression.objects.get().detail) == 500


@pytest.mark.parametrize(
    ("given", "compared"),
    [
        ("Ann.Smith@EXAMPLE.org", "ann.smith@example.org"),
        ("Ann <ANN@example.org>", "ann@example.org"),
        ("ann@MÜNCHEN.example", "ann@xn--mnchen-3ya.example"),
        ("ÄNN@example.org", "Änn@example.org"),
    ],
)
def test_addresses_are_compared_without_regard_to_the_case_of_ascii_letters(given, compared):
    assert suppressions.compared(given) == compared
