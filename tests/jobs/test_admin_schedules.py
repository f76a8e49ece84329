"""The admin's window on schedules, and its brake."""

from __future__ import annotations

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from tests.jobs.conftest import make_schedule
from tests.jobs.test_admin import staff

LIST = "/admin/jobs/schedule/"


@pytest.fixture
def owner(make_user):
    return make_user()


@pytest.fixture
def operator(db):
    """Somebody who may look at schedules and stop them."""
    client, _ = staff("view_schedule", "change_schedule")
    return client


def act(client, action, *rows):
    return client.post(LIST, {"action": action, ACTION_CHECKBOX_NAME: [row.pk for row in rows]}, follow=True)


def state(row):
    row.refresh_from_db()
    return row.paused, row.pause_reason


def test_the_list_shows_what_comes_when_and_the_page_all_of_it(operator, owner):
    row = make_schedule(owner, name="<b>report</b>", payload={"text": "</pre><script>alert(1)</script>"})
    make_schedule(owner, name="resting", paused=True, pause_reason="Its job was refused. type: gone")

    listed = operator.get(LIST).content.decode()
    page = operator.get(f"{LIST}{row.pk}/change/").content.decode()

    assert "&lt;b&gt;report&lt;/b&gt;" in listed
    assert "resting" in listed
    assert f"{row.next_at:%Y}" in listed
    for fact in (row.cron, row.time_zone, str(row.pk), "&lt;script&gt;"):
        assert fact in page
    assert "<script>alert(1)" not in page


def test_only_who_may_look_looks_and_only_who_may_change_stops(owner):
    row = make_schedule(owner)
    nobody, _ = staff()
    visitor, _ = staff("view_schedule")

    assert nobody.get(LIST).status_code == 403
    assert visitor.get(LIST).status_code == 200
    act(visitor, "pause", row)

    assert state(row) == (False, "")


def test_nobody_changes_a_schedule_by_hand(admin_client, owner):
    row = make_schedule(owner)

    assert admin_client.post(f"{LIST}{row.pk}/change/", {"cron": "* * * * *"}).status_code == 403
    assert admin_client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_many_are_paused_and_resumed_and_their_owners_read_who_did_it(operator, owner):
    rows = [make_schedule(owner) for _ in range(2)]

    assert "2 paused." in act(operator, "pause", *rows).content.decode()
    assert [state(row)[0] for row in rows] == [True, True]
    assert "(operator)" in rows[0].pause_reason

    assert "2 resumed." in act(operator, "resume", *rows).content.decode()
    assert [state(row) for row in rows] == [(False, ""), (False, "")]


def test_what_would_be_refused_is_not_resumed_and_said(operator, owner):
    row, gone = make_schedule(owner, paused=True), make_schedule(owner, name="old", type="gone", paused=True)

    page = act(operator, "resume", row, gone).content.decode()

    assert "old: type: is not a known type." in page
    assert "1 resumed." in page
    assert (state(row)[0], state(gone)[0]) == (False, True)


def test_a_schedule_is_found_by_its_id(operator, owner):
    wanted, other = make_schedule(owner, name="wanted"), make_schedule(owner, name="other")

    page = operator.get(LIST, {"q": str(wanted.pk)}).content.decode()

    assert f"{wanted.pk}/change/" in page
    assert f"{other.pk}/change/" not in page
    assert "whole id of a schedule" in operator.get(LIST, {"q": "019"}, follow=True).content.decode()
