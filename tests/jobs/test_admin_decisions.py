"""The decision desk: every decision is shown first, asks why, and tells what was done with each row."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from jobs import bulk_decisions, queue
from jobs.models import DeadLetter, Delivery, Job
from tests.jobs.conftest import make_dead_letter, make_job

DESK = "/admin/jobs/deadletter/"
WHY = "The relay is back."


@pytest.fixture
def owner(make_user):
    return make_user()


@pytest.fixture
def person(db):
    """Somebody who may look at dead letters and decide them."""
    user = User.objects.create(username="eve", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_deadletter", "change_deadletter"]))
    return user


@pytest.fixture
def desk(person):
    client = Client(enforce_csrf_checks=False)
    client.force_login(person)
    return client


@pytest.fixture
def rung(monkeypatch):
    jobs = []
    monkeypatch.setattr(queue, "push", lambda waiting: jobs.extend(waiting) or True)
    return jobs


class Page:
    """A confirmation page, and the form on it."""

    def __init__(self, client, url, answer):
        assert answer.status_code == 200, answer.status_code
        self.client, self.url = client, url
        self.text = unescape(answer.content.decode())
        self.lines = [
            " ".join(re.sub(r"<[^>]+>", "", li).split()) for li in re.findall(r"(?s)<li>(.*?)</li>", self.text)
        ]
        self.has_button = 'type="submit"' in self.text.split('name="confirmed"')[1].split("</form>")[0]
        self.offers = set(re.findall(r'type="checkbox" name="(\w+)"', self.text))
        self.hidden = {}
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.text):
            self.hidden.setdefault(name, []).append(value)

    def send(self, **fields):
        return self.client.post(self.url, self.hidden | fields)

    def done(self, **fields):
        """The messages after the form was sent."""
        answer = self.send(**fields)
        assert answer.status_code == 302
        messages = [str(message) for message in get_messages(answer.wsgi_request)]
        self.client.get(answer["Location"])  # where they are shown, and forgotten
        return messages


def choose(client, action, *rows, url=DESK, **fields):
    selection = {"action": action, "index": 0, "_selected_action": [row.pk for row in rows]}
    return Page(client, url, client.post(url, selection | fields))


def choose_one(client, action, row):
    url = f"{DESK}{row.pk}/{action}/"
    return Page(client, url, client.get(url))


def key_sent(row):
    other = make_job(row.owner, status="completed", dedupe_hash=row.job.dedupe_hash)
    now = timezone.now()
    Delivery.objects.create(dedupe_hash=row.job.dedupe_hash, job_id=other.id, claim=1, state="sent", claimed_at=now)


def resolutions():
    return dict(DeadLetter.objects.exclude(resolution=None).values_list("id", "resolution"))


# ── Many ──────────────────────────────────────────────────────────────────────────────────────


def test_choosing_changes_nothing_and_shows_what_it_would_come_to(desk, owner, rung):
    dead, unknown, known = make_dead_letter(owner), make_dead_letter(owner, reason="unknown"), make_dead_letter(owner)
    key_sent(known)

    page = choose(desk, "requeue", dead, unknown, known)

    assert page.lines[-3:] == [
        f"1 would be sent: {dead.pk}",
        f"1 already has it (left alone): {known.pk}",
        f"1 is unknown (left alone): {unknown.pk}",
    ]
    assert page.offers == {"already_sent", "unknown"}
    assert "may arrive twice" in page.text
    assert (resolutions(), rung) == ({}, [])


def test_requeue_does_what_was_shown_with_a_reason_and_tells_each_outcome(desk, person, owner, rung):
    dead, unknown = make_dead_letter(owner), make_dead_letter(owner, reason="unknown")

    said = choose(desk, "requeue", dead, unknown).done(note=WHY)

    assert said == [f"1 queued to be sent ({dead.pk})", f"1 is unknown ({unknown.pk})"]
    assert resolutions() == {dead.pk: "requeued"}
    assert [waiting.job_id for waiting in rung] == [dead.job_id]
    dead.refresh_from_db()
    assert (dead.resolved_by, dead.note) == (person, WHY)


def test_an_override_is_a_tick_and_a_reason(desk, person, owner, rung):
    known, unknown = make_dead_letter(owner), make_dead_letter(owner, reason="unknown")
    key_sent(known)
    page = choose(desk, "requeue", known, unknown)

    refused = Page(desk, DESK, page.send(already_sent="on"))
    said = refused.done(already_sent="on", note=WHY)

    assert "Required with an override" in refused.text
    assert refused.offers == {"already_sent", "unknown"}
    assert said == [f"1 already has it: queued to be sent once more ({known.pk})", f"1 is unknown ({unknown.pk})"]
    assert resolutions() == {known.pk: "override"}
    known.refresh_from_db()
    assert (known.resolved_by, known.note) == (person, WHY)


def test_no_override_is_offered_where_there_is_nothing_to_override(desk, owner):
    dead, unknown = make_dead_letter(owner), make_dead_letter(owner, reason="unknown")

    assert choose(desk, "requeue", dead).offers == set()
    assert choose(desk, "send_again", unknown).offers == set()


def test_a_tick_that_was_not_offered_overrides_nothing_else(desk, owner):
    unknown = make_dead_letter(owner, reason="unknown")
    page = choose(desk, "discard", unknown)

    page.send(unknown="on", note=WHY)

    assert resolutions() == {}


def test_where_nothing_can_be_done_there_is_only_the_way_back(desk, owner):
    page = choose(desk, "discard", make_dead_letter(owner, reason="unknown"))

    assert not page.has_button
    assert "No, take me back" in page.text


@pytest.mark.parametrize(
    ("action", "said", "job_status", "delivery_state"),
    [
        ("mark_sent", "1 marked sent", "completed", "sent"),
        ("send_again", "1 queued to be sent again", "queued", "released"),
        ("drop", "1 dropped", "failed", "dropped"),
    ],
)
def test_unknowns_are_decided_at_the_desk(desk, person, owner, rung, action, said, job_status, delivery_state):
    unknown, dead = make_dead_letter(owner, reason="unknown"), make_dead_letter(owner)

    messages = choose(desk, action, unknown, dead).done(note=WHY)

    assert messages == [f"{said} ({unknown.pk})", f"1 is not unknown ({dead.pk})"]
    assert Job.objects.get(id=unknown.job_id).status == job_status
    assert Delivery.objects.get(job_id=unknown.job_id).state == delivery_state
    unknown.refresh_from_db()
    assert (unknown.resolution, unknown.resolved_by, unknown.note) == (action, person, WHY)


def test_discard_puts_dead_letters_aside_and_the_reason_may_be_left_out(desk, owner):
    rows = [make_dead_letter(owner) for _ in range(7)]

    said = choose(desk, "discard", *rows).done(note="")

    assert said == [f"7 discarded ({', '.join(str(row.pk) for row in rows[:5])}, …)"]
    assert set(resolutions().values()) == {"discarded"}


@pytest.mark.parametrize(("note", "words"), [("x" * 501, "500"), ("a\u202eb", "printable")])
def test_a_reason_that_is_none_is_asked_for_again(desk, owner, note, words):
    row = make_dead_letter(owner)

    again = Page(desk, DESK, choose(desk, "discard", row).send(note=note))

    assert words in again.text
    assert resolutions() == {}
    assert again.done(note=WHY) == [f"1 discarded ({row.pk})"]


def test_two_people_at_the_desk_decide_once(desk, owner, rung):
    row = make_dead_letter(owner)
    pages = [choose(desk, "requeue", row) for _ in range(2)]

    said = [page.done(note=WHY) for page in pages]

    assert said == [
        [f"1 queued to be sent ({row.pk})"],
        ["Nothing queued to be sent", f"1 was decided before ({row.pk})"],
    ]
    assert len(rung) == 1


def test_what_happened_since_the_page_was_drawn_counts(desk, owner, rung):
    row = make_dead_letter(owner)
    page = choose(desk, "requeue", row)
    key_sent(row)

    assert page.done(note=WHY) == ["Nothing queued to be sent", f"1 already has it ({row.pk})"]
    assert rung == []


# ── All that match, across the pages ──────────────────────────────────────────────────────────


def test_all_that_match_the_filters_are_decided_but_nothing_that_came_later(desk, owner, rung):
    wanted = [make_dead_letter(owner) for _ in range(3)]
    other = make_dead_letter(owner, reason="invalid")
    url = f"{DESK}?reason__exact=permanent"
    page = choose(desk, "requeue", wanted[2], url=url, select_across=1)
    later = make_dead_letter(owner)

    said = page.done(note=WHY)

    assert said == [f"3 queued to be sent ({', '.join(str(row.pk) for row in wanted)})"]
    assert set(resolutions()) == {row.pk for row in wanted}
    assert {other.pk, later.pk}.isdisjoint(resolutions())


def test_the_rest_of_a_large_selection_is_asked_about_again_until_all_is_decided(desk, owner, rung, monkeypatch):
    monkeypatch.setattr(bulk_decisions, "BATCH", 2)
    monkeypatch.setattr(bulk_decisions, "MOST_AT_ONCE", 4)
    rows = [make_dead_letter(owner) for _ in range(9)]
    page = choose(desk, "discard", rows[0], select_across=1)
    assert "the oldest 4 of them" in page.text

    second = Page(desk, DESK, page.send(note=WHY))
    assert f"4 discarded ({', '.join(str(row.pk) for row in rows[:4])})" in second.text
    assert "the oldest 4 of them" in second.text
    third = Page(desk, DESK, second.send(note=WHY))

    assert third.done(note=WHY) == [f"1 discarded ({rows[8].pk})"]
    assert len(resolutions()) == 9


def test_the_list_shows_its_newest_rows_but_all_that_match_are_decided(desk, owner, rung, monkeypatch):
    monkeypatch.setattr("jobs.admin.read_only.COUNTED", 2)
    rows = [make_dead_letter(owner) for _ in range(4)]

    assert choose(desk, "discard", rows[0], select_across=1).done(note="") == [
        f"4 discarded ({', '.join(str(row.pk) for row in rows)})"
    ]


# ── One ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "buttons"),
    [
        ({}, {"requeue", "discard"}),
        ({"reason": "unknown"}, {"mark_sent", "send_again", "drop"}),
        ({"reason": "dropped"}, {"discard"}),
        ({"resolution": "discarded", "resolved_at": timezone.now()}, set()),
    ],
)
def test_a_dead_letter_has_the_buttons_that_fit_it(desk, owner, columns, buttons):
    row = make_dead_letter(owner, **columns)

    page = desk.get(f"{DESK}{row.pk}/change/").content.decode()

    assert set(re.findall(rf"/deadletter/{row.pk}/(\w+)/\"", page)) - {"change", "history"} == buttons


def test_a_button_asks_first_and_then_decides_this_one(desk, person, owner, rung):
    row, neighbour = make_dead_letter(owner), make_dead_letter(owner)
    page = choose_one(desk, "requeue", row)
    assert page.lines[-1] == f"1 would be sent: {row.pk}"
    assert resolutions() == {}

    answer = page.send(note=WHY)

    assert answer["Location"] == f"{DESK}{row.pk}/change/"
    assert resolutions() == {row.pk: "requeued"}
    assert neighbour.pk not in resolutions()
    row.refresh_from_db()
    assert (row.resolved_by, row.note) == (person, WHY)


def test_a_single_override_takes_a_tick_and_a_reason_too(desk, owner, rung):
    row = make_dead_letter(owner)
    key_sent(row)
    page = choose_one(desk, "requeue", row)

    assert page.offers == {"already_sent"}
    assert page.has_button
    assert page.done(note=WHY, already_sent="on") == [f"1 already has it: queued to be sent once more ({row.pk})"]


@pytest.mark.parametrize("id", ["0", "x", "99999999999999999999"])
def test_there_is_no_page_for_a_dead_letter_that_does_not_exist(desk, id):
    assert desk.get(f"{DESK}{id}/requeue/").status_code == 404


def test_only_this_site_s_own_form_decides(person, owner):
    row = make_dead_letter(owner)
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)

    many = client.post(DESK, {"action": "discard", "_selected_action": [row.pk], "confirmed": "yes"})
    one = client.post(f"{DESK}{row.pk}/discard/", {"confirmed": "yes"})
    asked = client.get(f"{DESK}{row.pk}/discard/", {"confirmed": "yes"})

    assert (many.status_code, one.status_code, asked.status_code) == (403, 403, 200)
    assert resolutions() == {}
