"""The suppression list over HTTP: whoever owns it reads it, adds to it and lifts what is on it."""

from __future__ import annotations

import pytest

from jobs.models import Suppression

pytestmark = pytest.mark.django_db
LIST = "/suppressions"


def add(caller, *addresses, **fields):
    return caller.post(LIST, {"addresses": list(addresses), **fields})


def listed(caller, **params):
    return [row["address"] for row in caller.get(LIST, params).json()["results"]]


def test_addresses_are_added_once_and_read_as_they_are_compared(caller):
    first = add(caller, "Ann@Example.org", "bob@example.org", detail="They asked us to.")
    again = add(caller, "ann@example.org", "cid@example.org", reason="hard_bounce")

    assert (first.status_code, first.json()) == (200, {"added": 2, "already_listed": 0})
    assert again.json() == {"added": 1, "already_listed": 1}
    assert set(listed(caller)) == {"ann@example.org", "bob@example.org", "cid@example.org"}
    (ann,) = caller.get(LIST, {"address": "ANN@example.org"}).json()["results"]
    assert {name: ann[name] for name in ("topic", "reason", "detail", "job_id")} == {
        "topic": "",
        "reason": "manual",
        "detail": "They asked us to.",
        "job_id": None,
    }


def test_nobody_sees_or_lifts_what_is_another_owners(caller, stranger, nobody):
    add(caller, "ann@example.org")

    assert listed(stranger) == []
    assert stranger.delete(f"{LIST}/ann@example.org").status_code == 404
    assert [nobody.get(LIST).status_code, add(nobody, "ann@example.org").status_code] == [401, 401]
    assert nobody.delete(f"{LIST}/ann@example.org").status_code == 401
    assert listed(caller) == ["ann@example.org"]


def test_it_is_read_in_pages_newest_first(caller):
    for number in range(5):
        add(caller, f"a{number}@example.org")

    first = caller.get(LIST, {"limit": "2"}).json()
    second = caller.get(first["next"]).json()

    assert [row["address"] for row in first["results"]] == ["a4@example.org", "a3@example.org"]
    assert [row["address"] for row in second["results"]] == ["a2@example.org", "a1@example.org"]
    assert caller.get(second["previous"]).json()["results"] == first["results"]


def test_it_is_filtered_by_reason_and_topic(caller):
    add(caller, "ann@example.org", topic="news", reason="unsubscribe")
    add(caller, "bob@example.org", reason="complaint")

    assert listed(caller, reason="unsubscribe") == listed(caller, topic="news") == ["ann@example.org"]
    assert listed(caller, topic="") == ["bob@example.org"]
    assert listed(caller, address="bob@example.org", reason="manual") == []


def test_lifting_takes_the_entry_of_this_topic_and_no_other(caller):
    add(caller, "ann@example.org")
    add(caller, "ann@example.org", topic="news")

    lifted = caller.delete(f"{LIST}/Ann@example.org?topic=news")

    assert (lifted.status_code, lifted.json()["topic"]) == (200, "news")
    assert caller.delete(f"{LIST}/ann@example.org?topic=news").status_code == 404
    assert [row["topic"] for row in caller.get(LIST).json()["results"]] == [""]


def test_an_address_with_a_slash_is_lifted_too(caller):
    add(caller, "a/b+c@example.org")

    assert caller.delete(f"{LIST}/a%2Fb%2Bc@example.org").status_code == 200
    assert listed(caller) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "addresses"),
        ({"addresses": []}, "addresses"),
        ({"addresses": "ann@example.org"}, "addresses"),
        ({"addresses": ["ann@example.org", 7]}, "addresses[1]"),
        ({"addresses": ["ann@example.org", "nobody"]}, "addresses[1]"),
        ({"addresses": ["ann@example.org\n"]}, "addresses[0]"),
        ({"addresses": ["a\0@example.org"]}, "addresses[0]"),
        ({"addresses": [f"a{number}@example.org" for number in range(1001)]}, "addresses"),
        ({"addresses": ["ann@example.org"], "topic": "Two words"}, "topic"),
        ({"addresses": ["ann@example.org"], "topic": None}, "topic"),
        ({"addresses": ["ann@example.org"], "reason": "because"}, "reason"),
        ({"addresses": ["ann@example.org"], "detail": "x" * 501}, "detail"),
        ({"addresses": ["ann@example.org"], "detail": "a\0b"}, "detail"),
        ({"addresses": ["ann@example.org"], "owner": 1}, "owner"),
        ([], "body"),
        (b"{", "body"),
        (b"", "body"),
    ],
)
def test_what_cannot_be_added_is_named_and_nothing_is_added(caller, body, field):
    answer = caller.post(LIST, body)

    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"address": "nobody"}, "address"),
        ({"reason": "because"}, "reason"),
        ({"topic": "Two words"}, "topic"),
        ({"colour": "red"}, "colour"),
        ({"cursor": "x"}, "cursor"),
        ({"limit": "0"}, "limit"),
    ],
)
def test_a_parameter_that_is_not_understood_is_named(caller, params, field):
    answer = caller.get(LIST, params)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


@pytest.mark.parametrize(
    ("path", "field"),
    [("nobody", "address"), ("ann@example.org?topic=Two words", "topic"), ("ann@example.org?x=1", "x")],
)
def test_what_cannot_be_lifted_is_named(caller, path, field):
    answer = caller.delete(f"{LIST}/{path}")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_a_thousand_are_added_in_one_call(caller):
    answer = add(caller, *(f"a{number}@example.org" for number in range(1000)))

    assert answer.json() == {"added": 1000, "already_listed": 0}
