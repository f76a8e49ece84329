"""The admin's page of the suppression list: who may look, put an address on it, and take one off."""

from __future__ import annotations

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from jobs import suppressions
from jobs.models import Suppression
from jobs.states import SuppressionReason
from tests.jobs.test_admin import staff

LIST = "/admin/jobs/suppression/"
ADD = f"{LIST}add/"


@pytest.fixture
def owner(make_user):
    return make_user()


@pytest.fixture
def operator(db):
    client, _ = staff("view_suppression", "add_suppression", "delete_suppression")
    return client


@pytest.fixture
def row(owner):
    return listed(owner, "ann@example.org", detail="<b>550</b>")


def listed(owner, address, **how):
    suppressions.add(owner.pk, [address], reason=SuppressionReason.HARD_BOUNCE, **how)
    return Suppression.objects.get(address=address)


def test_the_list_shows_who_gets_no_mail_and_why(operator, row):
    page = operator.get(LIST).content.decode()
    detail = operator.get(f"{LIST}{row.pk}/change/").content.decode()

    assert all(fact in page for fact in ("ann@example.org", "hard bounce", "&lt;b&gt;550"))
    assert "<b>550" not in page + detail


def test_one_address_is_found_however_it_is_written(operator, owner, row):
    listed(owner, "bob@example.org")

    found = operator.get(LIST, {"q": " ANN@example.org "}).content.decode()
    nothing = operator.get(LIST, {"q": "ann"}).content.decode()

    assert "ann@example.org" in found
    assert "bob@example.org" not in found
    assert "Search for a whole address" in nothing


def test_an_operator_puts_an_address_on_it_by_name(operator, owner):
    answer = operator.post(
        ADD, {"owner": owner.pk, "address": "Ann@Example.org", "topic": "news", "detail": "Ticket 1."}
    )

    row = Suppression.objects.get()
    assert answer.status_code == 302
    assert (row.owner_id, row.address, row.topic, row.reason) == (owner.pk, "ann@example.org", "news", "manual")
    assert row.detail.startswith("Ticket 1. By staff-")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "nobody"}, "not an email address"),
        ({"address": "ann@example.org"}, "on the list already"),
        ({"topic": "Two words"}, "no topic"),
        ({"owner": ""}, "required"),
    ],
)
def test_what_cannot_be_added_is_told_and_not_added(operator, owner, row, change, words):
    answer = operator.post(ADD, {"owner": owner.pk, "address": "bob@example.org", "topic": "", "detail": ""} | change)

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Suppression.objects.count() == 1


def test_an_operator_takes_one_off_and_many(operator, owner, row):
    others = [listed(owner, f"{name}@example.org") for name in ("bob", "cid")]

    operator.post(f"{LIST}{row.pk}/delete/", {"post": "yes"})
    assert Suppression.objects.count() == 2
    chosen = {"action": "delete_selected", ACTION_CHECKBOX_NAME: [other.pk for other in others], "post": "yes"}
    operator.post(LIST, chosen)

    assert not Suppression.objects.exists()


def test_each_of_these_takes_its_permission_and_nobody_changes_one(owner, row):
    nobody, _ = staff()
    visitor, _ = staff("view_suppression")
    changer, _ = staff("view_suppression", "change_suppression")

    assert nobody.get(LIST).status_code == 403
    assert visitor.get(LIST).status_code == 200
    assert visitor.get(ADD).status_code == 403
    assert visitor.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert changer.post(f"{LIST}{row.pk}/change/", {"address": "eve@example.org"}).status_code == 403
    assert Suppression.objects.get().address == "ann@example.org"
