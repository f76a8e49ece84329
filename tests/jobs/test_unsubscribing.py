"""Links to unsubscribe: which mails may have one, what a token says, and what a click does."""

from __future__ import annotations

from io import BytesIO
from uuid import UUID, uuid4

import pytest
from django.core import signing
from django.test import Client
from structlog.testing import capture_logs

from jobs import payloads, unsubscribing
from jobs.errors import InvalidRequest
from jobs.models import Suppression
from jobs.unsubscribing import Reader
from tests.jobs.conftest import EMAIL

URL = "https://mail.example.org/post/"
FORM = "application/x-www-form-urlencoded"
CLICK = "List-Unsubscribe=One-Click"


@pytest.fixture
def public_url(tunables):
    tunables(public_url=URL)


def refused(type_="email", **fields):
    payload = EMAIL | fields
    if type_ == "templated_email":
        payload = {"to": payload["to"], "template": "t"} | fields
    with pytest.raises(InvalidRequest) as refusal:
        payloads.read(payloads.type_of(type_), payload)
    return refusal.value.fields


# ── Which mails may have one ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wanted", [{}, {"topic": "newsletter"}])
def test_a_mail_to_one_may_and_it_is_kept_as_it_was_given(public_url, wanted):
    payload = payloads.read(payloads.type_of("email"), EMAIL | {"unsubscribe": wanted})

    assert payloads.as_stored(payload) == EMAIL | {"unsubscribe": wanted}


def test_a_mail_without_one_is_kept_without_one():
    assert payloads.as_stored(payloads.read(payloads.type_of("email"), EMAIL)) == EMAIL


@pytest.mark.parametrize("type_", ["email", "templated_email"])
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"to": ["ann@example.org", "bob@example.org"]}, "payload.unsubscribe"),
        ({"cc": "bob@example.org"}, "payload.unsubscribe"),
        ({"bcc": ["bob@example.org"]}, "payload.unsubscribe"),
        ({"unsubscribe": {"topic": "Two words"}}, "payload.unsubscribe.topic"),
        ({"unsubscribe": {"topic": 7}}, "payload.unsubscribe.topic"),
        ({"unsubscribe": {"about": "x"}}, "payload.unsubscribe.about"),
        ({"unsubscribe": "newsletter"}, "payload.unsubscribe"),
        ({"headers": {"List-Unsubscribe": "<mailto:x@example.org>"}}, "payload.headers.List-Unsubscribe"),
        ({"headers": {"list-unsubscribe-POST": "x"}}, "payload.headers.list-unsubscribe-POST"),
    ],
)
def test_what_cannot_be_is_named(public_url, type_, fields, path):
    assert list(refused(type_, **{"unsubscribe": {}} | fields)) == [path]


def test_without_a_public_url_the_remedy_is_named():
    assert "PUBLIC_URL" in refused(unsubscribe={})["payload.unsubscribe"][0]


def test_authors_may_still_write_these_headers_themselves():
    payloads.read(payloads.type_of("email"), EMAIL | {"headers": {"List-Unsubscribe": "<mailto:x@example.org>"}})


# ── Tokens ────────────────────────────────────────────────────────────────────────────────────

READER = Reader(7, "ann@example.org", "newsletter", UUID("019b0000-0000-7000-8000-000000000000"))


def test_a_token_says_by_itself_who_wants_what_no_more():
    assert unsubscribing.read(unsubscribing.token(READER)) == READER


def test_it_needs_no_escape_in_an_address():
    assert set(unsubscribing.token(READER)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:")


def test_the_link_stands_below_the_public_url(public_url):
    assert unsubscribing.link(READER) == f"{URL}unsubscribe/{unsubscribing.token(READER)}"


def test_a_key_that_was_replaced_is_still_good_while_it_is_named(settings):
    token = unsubscribing.token(READER)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, [settings.SECRET_KEY]
    assert unsubscribing.read(token) == READER

    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(ValueError, match="does not match"):
        unsubscribing.read(token)


FORGED = ["", "x", ":", "W10:AAAA", "é:é", "x" * 3000]


@pytest.mark.parametrize("token", FORGED, ids=range(len(FORGED)))
def test_what_we_have_not_signed_is_refused(token):
    with pytest.raises(ValueError):  # noqa: PT011
        unsubscribing.read(token)


def test_what_was_signed_for_something_else_is_refused():
    with pytest.raises(ValueError, match="does not match"):
        unsubscribing.read(signing.Signer(salt="other").sign_object([7, "ann@example.org", "", str(uuid4())]))


# ── A click ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def link(caller):
    def of(topic="newsletter", address="Ann@example.org", owner=None):
        reader = Reader(owner or caller.user.pk, address, topic, READER.job_id)
        return f"/unsubscribe/{unsubscribing.token(reader)}"

    return of


@pytest.fixture
def browser():
    return Client(enforce_csrf_checks=True)


def on_the_list():
    return list(Suppression.objects.values_list("address", "topic", "reason", "job_id"))


def test_one_click_is_enough_and_a_second_one_is_answered_alike(link, browser, caller):
    answers = [browser.post(link(), CLICK, content_type=FORM) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert on_the_list() == [("ann@example.org", "newsletter", "unsubscribe", READER.job_id)]
    assert Suppression.objects.get().owner_id == caller.user.pk


def test_without_a_topic_it_is_everything(link, browser):
    browser.post(link(topic=""), CLICK, content_type=FORM)

    assert [topic for _, topic, *_ in on_the_list()] == [""]


def test_the_other_kind_of_form_is_understood_too(link, browser):
    assert browser.post(link(), {"List-Unsubscribe": "One-Click"}).status_code == 200

    assert len(on_the_list()) == 1


def test_a_chunked_form_is_understood_too(link, browser):
    extra = {"wsgi.input": BytesIO(CLICK.encode()), "wsgi.input_terminated": True, "CONTENT_TYPE": FORM}
    answer = browser.request(PATH_INFO=link(), REQUEST_METHOD="POST", **extra)

    assert (answer.status_code, len(on_the_list())) == (200, 1)


def test_looking_changes_nothing_and_shows_a_button(link, browser):
    answer = browser.get(link())

    page = answer.content.decode()
    assert answer.status_code == 200
    assert '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">' in page
    assert "newsletter" in page
    assert "Ann@example.org" in page
    assert browser.head(link()).status_code == 200
    assert on_the_list() == []


def test_the_page_takes_nothing_from_elsewhere_and_gives_nothing_away(link, browser):
    answer = browser.get(link())

    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert (answer["Referrer-Policy"], answer["Cache-Control"]) == ("no-referrer", "no-store")


def test_whatever_stands_in_an_address_is_shown_as_text(link, browser):
    page = browser.get(link(address="<script>alert(1)</script>@example.org")).content.decode()

    assert "<script>" not in page


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", FORM),
        ("List-Unsubscribe=", FORM),
        ("List-Unsubscribe=one-click", FORM),
        ("List-Unsubscribe=One-Click&List-Unsubscribe=Two", FORM),
        ("a=b", FORM),
        ('{"List-Unsubscribe": "One-Click"}', "application/json"),
        (b"\xff\xfe", FORM),
        ("nonsense", "multipart/form-data; boundary=x"),
        ("nonsense", "multipart/form-data"),
        ("&" * 5000, FORM),
    ],
)
def test_another_body_is_refused_and_changes_nothing(link, browser, body, kind):
    answer = browser.post(link(), body, content_type=kind)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert on_the_list() == []


def test_a_large_body_is_not_read(link, browser):
    answer = browser.post(link(), "x" * 9000, content_type=FORM)

    assert answer.status_code == 413


@pytest.mark.parametrize("token", ["x", "W10:AAAA", "x" * 3000])
def test_a_token_that_is_not_ours_gets_a_page_without_details(browser, db, token):
    for answer in (
        browser.get(f"/unsubscribe/{token}"),
        browser.post(f"/unsubscribe/{token}", CLICK, content_type=FORM),
    ):
        assert answer.status_code == 404
        assert "not valid" in answer.content.decode()
        assert "ignature" not in answer.content.decode()
    assert on_the_list() == []


@pytest.mark.django_db(transaction=True)
def test_a_sender_whose_account_is_gone_is_as_good_as_no_sender(link, browser):
    assert browser.post(link(owner=2**31 - 1), CLICK, content_type=FORM).status_code == 404


def test_neither_token_nor_address_is_logged(link, browser, caller):
    with capture_logs() as logs:
        browser.post(link(), CLICK, content_type=FORM)
        caller.delete("/suppressions/ann@example.org?topic=newsletter")

    told = str(logs)
    assert "/unsubscribe/…" in told
    assert "/suppressions/…" in told
    assert link().rpartition("/")[2] not in told
    assert "ann@example.org" not in told.lower()
