"""The page of the local inbox shows foreign mail without running or trusting any of it."""

from __future__ import annotations

import pytest
from django.test import Client

from jobs.conf import tunables
from scheduler.embedded.inbox_folder import Inbox
from scheduler.embedded.inbox_page import open_letter

EVIL = "<script>alert(1)</script>"
HTML_MAIL = f"""\
From: {EVIL}@example.org
To: ann@example.org
Subject: Hi {EVIL}
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Plain {EVIL}
--b
Content-Type: text/html; charset=utf-8

<p title="quoted">Rich</p>{EVIL}
--b--
""".replace("\n", "\r\n").encode()


@pytest.fixture
def inbox(tmp_path, settings):
    settings.DEBUG = True
    settings.MIDDLEWARE = []
    settings.ROOT_URLCONF = "scheduler.embedded.inbox_page"
    settings.SENDONCE = settings.SENDONCE | {"inbox_dir": tmp_path}
    tunables.cache_clear()
    yield Inbox(tmp_path)
    tunables.cache_clear()


@pytest.fixture
def page():
    return Client(raise_request_exception=True)


def keep(inbox, source=HTML_MAIL):
    return inbox.keep("bob@example.org", ["ann@example.org"], source)


def test_an_empty_inbox_says_so_and_looks_again(inbox, page):
    text = page.get("/inbox").content.decode()

    assert "Nothing yet" in text
    assert 'http-equiv="refresh"' in text


def test_the_list_links_each_mail_newest_first(inbox, page):
    older, newer = keep(inbox), keep(inbox)

    text = page.get("/inbox").content.decode()

    assert 0 < text.index(f"/inbox/{newer.id}") < text.index(f"/inbox/{older.id}")


@pytest.mark.parametrize(
    "address", ["/inbox", "/inbox/{id}?show=text", "/inbox/{id}?show=html", "/inbox/{id}?show=source"]
)
def test_markup_of_a_mail_never_becomes_markup_of_the_page(inbox, page, address):
    mail = keep(inbox)

    answer = page.get(address.format(id=mail.id))

    assert EVIL not in answer.content.decode()
    assert "&lt;script&gt;" in answer.content.decode()
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "script-src" not in answer["Content-Security-Policy"]


def test_html_is_framed_without_any_permission(inbox, page):
    mail = keep(inbox)

    text = page.get(f"/inbox/{mail.id}?show=html").content.decode()

    assert "<iframe sandbox title" in text
    assert 'srcdoc="&lt;p title=&quot;quoted&quot;&gt;Rich&lt;/p&gt;' in text


def test_the_source_is_shown_as_received(inbox, page):
    mail = keep(inbox, b"Subject: x\r\n\r\nbody \xff\r\n")

    assert "Subject: x\r\n\r\nbody \ufffd\r\n" in page.get(f"/inbox/{mail.id}?show=source").content.decode()


@pytest.mark.parametrize("id", ["unknown", "..", "..%2f..%2fsettings", "0000000000000000000-00000000"])
def test_what_is_no_mail_is_not_found(inbox, page, id):
    assert page.get(f"/inbox/{id}").status_code == 404


def test_outside_debug_there_is_no_inbox(inbox, page, settings):
    mail = keep(inbox)
    settings.DEBUG = False

    assert page.get("/inbox").status_code == 404
    assert page.get(f"/inbox/{mail.id}").status_code == 404


def test_without_a_folder_there_is_no_inbox(inbox, page, settings):
    settings.SENDONCE = settings.SENDONCE | {"inbox_dir": None}
    tunables.cache_clear()

    assert page.get("/inbox").status_code == 404


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"\x00\xff\xfe",
        b"Subject: =?utf-8?b?broken\r\nContent-Type: text/plain; charset=no-such\r\n\r\n\xff",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed\r\n\r\n--b",
        b'From: "<"@[\r\nTo: ,,;:\r\nMessage-ID: <<<\r\nDate: never\r\n\r\n',
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
    ],
)
def test_a_broken_mail_is_still_shown(inbox, page, source):
    mail = keep(inbox, source)

    assert open_letter(source).subject
    assert page.get("/inbox").status_code == 200
    for tab in ("", "?show=text", "?show=html", "?show=source", "?show=nonsense"):
        assert page.get(f"/inbox/{mail.id}{tab}").status_code == 200
