"""Sources of evidence: what each book says, and what becomes of one that cannot be asked."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from scheduler.embedded.child import free_port
from scheduler.embedded.faulty_smtp import FaultySmtp
from scheduler.embedded.inbox import serve
from tests.workers.mailgun_server import DOMAIN, KEY, Mailgun, mailgun
from workers.evidence import mailgun as mailgun_source
from workers.evidence.base import Evidence, NoAnswer
from workers.evidence.inbox import InboxBook
from workers.evidence.mailgun import MailgunEvents
from workers.evidence.registry import sources

ID = "<0198c0de-0000-7000-8000-000000000001@example.org>"
ANOTHER = "<0198c0de-0000-7000-8000-000000000002@example.org>"


@pytest.fixture
def provider():
    with mailgun() as server:
        yield server


def ask(url: str, message_id: str = ID) -> Evidence:
    source = sources({"main": url})["main"]
    return asyncio.run(source.was_accepted(message_id))


# ── Mailgun ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("event", ["accepted", "delivered"])
def test_mailgun_has_taken_what_it_has_an_event_of(provider: Mailgun, event):
    provider.note(event, ID)

    assert ask(provider.url) == Evidence(True, f"Event '{event}' at 2018-03-19T15:11:02+00:00.")
    assert provider.asked == [
        {"message-id": ID.strip("<>"), "event": "accepted OR delivered", "ascending": "no", "limit": "300"}
    ]


def test_the_first_of_several_events_is_told(provider: Mailgun):
    provider.note("accepted", ID, at=1_521_472_262)
    provider.note("delivered", ID, at=1_521_472_265)

    assert ask(provider.url).detail == "Event 'accepted' at 2018-03-19T15:11:02+00:00."


def test_no_event_proves_nothing(provider: Mailgun):
    provider.note("accepted", ANOTHER)

    assert ask(provider.url) == Evidence(None, "No event of this message so far; they may come late.")


@pytest.mark.parametrize("event", ["failed", "opened", "stored"])
def test_other_events_prove_nothing(provider: Mailgun, event):
    provider.note(event, ID)

    assert ask(provider.url).accepted is None


def test_other_peoples_events_prove_nothing_even_when_the_filter_lets_them_through(provider: Mailgun, monkeypatch):
    provider.note("accepted", ANOTHER)
    monkeypatch.setattr(Mailgun, "page", lambda self, query, number: {"items": self.events, "paging": {"next": ""}})

    assert ask(provider.url).accepted is None


def test_the_pages_are_followed_to_the_message(provider: Mailgun, monkeypatch):
    provider.page_size = 2
    provider.note("accepted", ID)
    for _ in range(3):
        provider.note("accepted", ANOTHER)
    monkeypatch.setattr("tests.workers.mailgun_server._matches", lambda event, query: True)

    assert ask(provider.url).accepted is True
    assert len(provider.asked) == 2


def test_the_pages_end(provider: Mailgun, monkeypatch):
    provider.page_size = 1
    for _ in range(mailgun_source.MOST_PAGES + 3):
        provider.note("accepted", ANOTHER)
    monkeypatch.setattr("tests.workers.mailgun_server._matches", lambda event, query: True)

    assert ask(provider.url).accepted is None
    assert len(provider.asked) == mailgun_source.MOST_PAGES


def test_the_key_goes_to_no_other_server(provider: Mailgun, monkeypatch):
    with mailgun() as stranger:
        elsewhere = {
            "items": [{"event": "accepted", "timestamp": 1}],
            "paging": {"next": f"{stranger.base}/events/page1"},
        }
        monkeypatch.setattr(Mailgun, "page", lambda self, query, number: elsewhere)

        assert ask(provider.url).accepted is None
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "rest", "is_setting_wrong"),
    [
        (401, {}, 600, True),
        (403, {}, 600, True),
        (404, {}, 600, True),
        (429, {"Retry-After": "17"}, 17, False),
        (429, {"Retry-After": "1000000"}, 3600, False),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60, False),
        (429, {}, 60, False),
        (500, {}, 60, False),
        (503, {"Retry-After": "5"}, 5, False),
        (302, {"Location": "http://127.0.0.1:1/"}, 60, False),
    ],
)
def test_a_refusal_is_no_answer_and_says_how_long_to_leave_it_alone(provider, status, headers, rest, is_setting_wrong):
    provider.note("accepted", ID)
    provider.instead = (status, headers, b"Forbidden")

    with pytest.raises(NoAnswer) as none:
        ask(provider.url)

    assert str(status) in none.value.detail
    assert (none.value.rest_seconds, none.value.is_setting_wrong) == (rest, is_setting_wrong)
    assert ("EVIDENCE_SOURCES" in none.value.detail) is is_setting_wrong
    assert KEY not in none.value.detail


def test_a_wrong_key_is_told_as_what_it_is(provider: Mailgun):
    with pytest.raises(NoAnswer, match="the key in EVIDENCE_SOURCES \\(401\\)"):
        ask(provider.url.replace(KEY, "another"))


def test_a_domain_of_the_other_region_is_told_as_what_it_is(provider: Mailgun):
    with pytest.raises(NoAnswer, match="the domain, which may be in the other region"):
        ask(provider.url.replace(DOMAIN, "elsewhere.example.org"))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"items": {}}', b'{"items": [{"event": 1}]}', b'{"items": ["\xff"]}', b'{"items": null}'],
)
def test_an_answer_that_makes_no_sense_is_none(provider: Mailgun, body):
    provider.instead = (200, {}, body)

    with pytest.raises(NoAnswer, match="could not be read"):
        ask(provider.url)


def test_events_without_a_message_are_passed_over(provider: Mailgun):
    provider.instead = (200, {}, b'{"items": [{"event": "accepted", "timestamp": 1.5}], "paging": {}}')

    assert ask(provider.url).accepted is None


def test_a_server_that_is_not_there_is_no_answer():
    with pytest.raises(NoAnswer, match="ConnectError"):
        ask(f"mailgun+http://api:k@127.0.0.1:{free_port()}/v3/{DOMAIN}")


def test_a_server_that_hangs_is_no_answer(provider: Mailgun):
    provider.is_silent = threading.Event()
    source = MailgunEvents(provider.base, key=KEY, timeout_seconds=0.2)

    with pytest.raises(NoAnswer, match="ReadTimeout"):
        asyncio.run(source.was_accepted(ID))


def test_the_key_is_percent_decoded_and_shows_nowhere(provider: Mailgun, caplog):
    source = sources({"main": provider.url.replace(KEY, KEY.replace("-", "%2D"))})["main"]
    provider.note("accepted", ID)

    assert asyncio.run(source.was_accepted(ID)).accepted
    assert KEY not in repr(source) + repr(vars(source)) + caplog.text


# ── The local inbox ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def inbox(tmp_path, no_thread_stays):
    """Its SMTP server, in a thread of this process."""
    port, loop, stop = free_port(), asyncio.new_event_loop(), asyncio.Event()

    def run():
        loop.run_until_complete(serve(port, tmp_path / "inbox", stop))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            break
        except ConnectionRefusedError:
            pass
    yield port
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


def send(port: int, message_id: str, to: str = "ann@example.org") -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("bob@example.org", [to], f"Message-ID: {message_id}\r\nSubject: x\r\n\r\nbody\r\n")


def test_the_inbox_says_yes_and_no(inbox):
    send(inbox, ID)

    yes, no = ask(f"inbox+smtp://127.0.0.1:{inbox}"), ask(f"inbox+smtp://127.0.0.1:{inbox}", ANOTHER)

    assert (yes.accepted, no.accepted) == (True, False)
    assert yes.detail.startswith("250 2.0.0 taken at 2")
    assert no.detail == "550 5.0.0 never taken"


def test_the_inbox_does_not_tell_about_its_silent_recipient(inbox):
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(inbox, ID, to="silent@example.org")

    assert ask(f"inbox+smtp://127.0.0.1:{inbox}").accepted is None


def test_an_inbox_that_is_not_there_is_no_answer():
    with pytest.raises(NoAnswer, match="ConnectionRefusedError") as none:
        ask(f"inbox+smtp://127.0.0.1:{free_port()}")

    assert not none.value.is_setting_wrong


def test_a_server_without_the_command_is_a_wrong_setting():
    server = FaultySmtp()
    server.start()
    try:
        with pytest.raises(NoAnswer, match="EVIDENCE_SOURCES: this server does not offer XACCEPTED") as none:
            ask(f"inbox+smtp://127.0.0.1:{server.port}")
    finally:
        server.stop()

    assert none.value.is_setting_wrong


# ── EVIDENCE_SOURCES ──────────────────────────────────────────────────────────────────────────


def test_each_kind_is_known_by_its_scheme():
    found = sources(
        {
            "main": "mailgun+https://api:k%40y@api.eu.mailgun.net/v3/mg.example.org",
            "local": "inbox+smtp://127.0.0.1:1025",
        }
    )

    assert {alias: (type(source), source.name) for alias, source in found.items()} == {
        "main": (MailgunEvents, "mailgun"),
        "local": (InboxBook, "local inbox"),
    }


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://api:s3cret@api.mailgun.net/v3/d", "must start with one of inbox+smtp://, mailgun+https://"),
        ("s3cret", "must start with"),
        ("mailgun+https://api:s3cret@[::1/v3/d", "cannot be read"),
        ("mailgun+https://api:s3cret@host:port/v3/d", "cannot be read"),
        ("mailgun+https://api.mailgun.net/v3/d", "the user api and the API key"),
        ("mailgun+https://s3cret@api.mailgun.net/v3/d", "the user api and the API key"),
        ("mailgun+https://key:s3cret@api.mailgun.net/v3/d", "the user api and the API key"),
        ("mailgun+https://api:s3cret@api.mailgun.net", "ends with the sending domain"),
        ("mailgun+https://api:s3cret@api.mailgun.net/v3", "ends with the sending domain"),
        ("mailgun+https://api:s3cret@api.mailgun.net/v3/d/events", "ends with the sending domain"),
        ("mailgun+http://api:s3cret@api.mailgun.net/v3/d", "a key travels encrypted"),
        ("inbox+smtp://127.0.0.1", "inbox+smtp://host:port"),
        ("inbox+smtp://ann:s3cret@127.0.0.1:1025", "inbox+smtp://host:port"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_the_remedy_and_not_shown(url, remedy):
    with pytest.raises(ImproperlyConfigured) as refused:
        sources({"main": url})

    assert str(refused.value).startswith("EVIDENCE_SOURCES: 'main': ")
    assert remedy in str(refused.value)
    assert "s3cret" not in str(refused.value)
