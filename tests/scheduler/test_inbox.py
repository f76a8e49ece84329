"""The local inbox: a real SMTP conversation, and files that are complete or absent."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import sys
import threading
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.smtp import Envelope

from scheduler.embedded.child import Child, free_port, is_port_free
from scheduler.embedded.inbox import MAX_MAIL_BYTES, InboxHandler
from scheduler.embedded.inbox_book import Book
from scheduler.embedded.inbox_folder import Inbox
from tests.conftest import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path):
    port, folder = free_port(), tmp_path / "inbox"
    command = [
        sys.executable,
        "-W",
        "always",
        "-m",
        "scheduler.embedded.inbox",
        "--port",
        str(port),
        "--folder",
        folder,
    ]
    process = Child("inbox", command, log=tmp_path / "inbox.log", cwd=ROOT)
    process.start()
    process.wait_until(lambda: not is_port_free(port), within=20)
    yield port, Inbox(folder)
    process.stop()
    assert process.log.read_text() == ""  # no warnings, no tracebacks


def letter(subject="Hello", to="ann@example.org"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bob@example.org", to, subject
    message.set_content("The text.\n.\n..with dots\n")
    return message


def test_a_mail_that_got_its_250_is_on_disk_with_its_envelope(server):
    port, inbox = server

    with smtplib.SMTP("127.0.0.1", port) as client:
        refused = client.send_message(letter(), "bounce@example.org", ["ann@example.org", "eve@example.org"])
        [mail] = inbox.newest(10)

    assert refused == {}
    assert (mail.mail_from, mail.rcpt_tos) == ("bounce@example.org", ["ann@example.org", "eve@example.org"])
    source = inbox.source(mail)
    assert mail.size == len(source)
    assert source.endswith(b"The text.\r\n.\r\n..with dots\r\n")
    assert sorted(path.name for path in inbox.folder.iterdir()) == [f"{mail.id}.eml", f"{mail.id}.json"]


def test_the_newest_mail_comes_first(server):
    port, inbox = server
    with smtplib.SMTP("127.0.0.1", port) as client:
        for number in range(3):
            client.send_message(letter(f"number {number}"))

    sources = [inbox.source(mail) for mail in inbox.newest(2)]

    assert b"number 2" in sources[0]
    assert b"number 1" in sources[1]
    assert len(sources) == 2


def test_international_addresses_are_taken(server):
    port, inbox = server
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        assert client.has_extn("smtputf8")

        client.send_message(letter(to="грета@пример.рф"))

    assert inbox.newest(1)[0].rcpt_tos == ["грета@пример.рф"]


def test_commands_sent_in_one_write_are_answered_one_by_one(server):
    port, inbox = server
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, connection.makefile("rb") as replies:
        replies.readline()
        connection.sendall(b"EHLO tests\r\n")
        offered = iter(replies.readline, None)
        extensions = [next(offered)]
        while extensions[-1][3:4] == b"-":
            extensions.append(next(offered))
        assert b"250-PIPELINING\r\n" in extensions

        connection.sendall(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        codes = [replies.readline()[:3] for _ in range(3)]
        connection.sendall(b"Subject: x\r\n\r\nbody\r\n.\r\nMAIL FROM:<a@example.org>\r\n")
        codes += [replies.readline()[:3] for _ in range(2)]

    assert codes == [b"250", b"250", b"354", b"250", b"250"]
    assert len(inbox.newest(10)) == 1


def test_too_large_a_mail_is_refused_and_not_kept(server):
    port, inbox = server
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        code, _ = client.mail("a@example.org", [f"size={MAX_MAIL_BYTES + 1}"])

    assert code == 552
    assert inbox.newest(10) == []


def test_a_mail_that_cannot_be_stored_gets_no_250(server):
    port, inbox = server
    inbox.folder.touch()  # a file where the folder should be

    with smtplib.SMTP("127.0.0.1", port) as client, pytest.raises(smtplib.SMTPDataError) as refusal:
        client.send_message(letter())

    assert refusal.value.smtp_code == 452


# ── Faults played by recipient ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [("refuse@example.org", (550, b"5.1.1")), ("Refuse@пример.рф", (550, b"5.1.1")), ("defer@a.test", (451, b"4.2.0"))],
)
def test_a_recipient_that_plays_a_refusal_is_refused_at_rcpt_and_the_others_get_the_mail(server, recipient, reply):
    port, inbox = server

    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail("bob@example.org", ["smtputf8"])
        code, text = client.rcpt(recipient)
        refused = client.rcpt("refused@example.org")
        client.data(letter().as_bytes())

    assert (code, text[:5]) == reply
    assert refused[0] == 250
    assert inbox.newest(10)[0].rcpt_tos == ["refused@example.org"]


def test_the_silent_recipient_keeps_the_mail_and_drops_the_connection_without_a_reply(server):
    port, inbox = server

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, connection.makefile("rb") as replies:
        for line in (b"HELO tests", b"MAIL FROM:<a@example.org>", b"RCPT TO:<silent@example.org>", b"DATA"):
            replies.readline()
            connection.sendall(line + b"\r\n")
        assert replies.readline()[:3] == b"354"
        connection.sendall(b"Subject: x\r\n\r\nbody\r\n.\r\n")
        after_the_dot = replies.read()

    assert after_the_dot == b""
    assert [mail.rcpt_tos for mail in inbox.newest(10)] == [["silent@example.org"]]


def test_after_a_silence_the_next_conversation_is_an_ordinary_one(server):
    port, inbox = server
    with smtplib.SMTP("127.0.0.1", port) as client, pytest.raises(smtplib.SMTPServerDisconnected):
        client.send_message(letter(to="silent@example.org"))

    with smtplib.SMTP("127.0.0.1", port) as client:
        assert client.send_message(letter()) == {}

    assert len(inbox.newest(10)) == 2


@pytest.mark.parametrize("id", ["../secret", "..%2fsecret", "", ".", "0" * 19, "/etc/passwd", "0" * 19 + "-0000000g"])
def test_what_is_no_id_finds_nothing(tmp_path, id):
    (tmp_path / "secret.json").write_text("{}")

    assert Inbox(tmp_path / "inbox").find(id) is None


def test_a_mail_half_written_is_not_listed(tmp_path):
    inbox = Inbox(tmp_path)
    kept = inbox.keep("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\n")
    (tmp_path / f".{'1' * 19}-00000000.eml.part").write_bytes(b"Subj")
    (tmp_path / f"{'1' * 19}-00000000.json").write_text("{}")

    assert inbox.ids() == [kept.id]


# ── Its book ──────────────────────────────────────────────────────────────────────────────────


def identified(message_id, to="ann@example.org"):
    message = letter(to=to)
    message["Message-ID"] = message_id
    return message


def asked(port, message_id):
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        assert client.has_extn("xaccepted")
        return client.docmd("XACCEPTED", message_id)[0]


@contextmanager
def sending_a_mail(port):
    """A conversation that was told 354, and has written all but the dot."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, connection.makefile("rb") as replies:
        for line in (b"HELO tests", b"MAIL FROM:<a@example.org>", b"RCPT TO:<ann@example.org>", b"DATA"):
            replies.readline()
            connection.sendall(line + b"\r\n")
        assert replies.readline()[:3] == b"354"
        connection.sendall(b"Message-ID: <under-way@example.org>\r\n\r\nbody\r\n")
        yield connection, replies


def test_the_book_knows_a_mail_that_was_taken_and_one_that_was_not(server):
    port, _ = server
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(identified("<first@example.org>"))
    assert [asked(port, f"<{id}@example.org>") for id in ("first", "second")] == [250, 550]

    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(identified("<second@example.org>"))

    assert [asked(port, f"<{id}@example.org>") for id in ("first", "second", "third")] == [250, 250, 550]


def test_a_mail_is_found_although_the_senders_domain_was_renamed_since(server):
    port, _ = server
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(identified("<0198-4711@old.example>"))

    assert asked(port, "<0198-4711@new.example>") == 250


def test_while_a_mail_is_under_way_the_book_does_not_say_no(server):
    port, _ = server
    with sending_a_mail(port) as (connection, replies):
        assert asked(port, "<under-way@example.org>") == 252

        connection.sendall(b".\r\n")
        assert replies.readline()[:3] == b"250"
        assert asked(port, "<under-way@example.org>") == 250
        assert asked(port, "<another@example.org>") == 550


def test_a_connection_that_breaks_before_the_dot_makes_the_no_certain(server):
    port, _ = server
    with sending_a_mail(port):
        assert asked(port, "<under-way@example.org>") == 252

    until(lambda: asked(port, "<under-way@example.org>") == 550)


@pytest.mark.parametrize(("recipient", "code"), [("forgetful@example.org", 250), ("silent@example.org", 252)])
def test_who_hung_up_on_us_may_still_be_asked_unless_it_is_silent(server, recipient, code):
    port, _ = server
    with smtplib.SMTP("127.0.0.1", port) as client, pytest.raises(smtplib.SMTPServerDisconnected):
        client.send_message(identified("<lost-reply@example.org>", to=recipient))

    assert asked(port, "<lost-reply@example.org>") == code


@pytest.mark.parametrize("line", ["XACCEPTED", "XACCEPTED  "])
def test_a_question_without_a_name_is_a_syntax_error(server, line):
    port, _ = server

    with smtplib.SMTP("127.0.0.1", port) as client:
        assert client.docmd(line)[0] == 503
        client.ehlo()
        assert client.docmd(line)[0] == 501


def test_a_book_that_is_opened_again_knows_what_was_kept_before(tmp_path):
    inbox = Inbox(tmp_path)
    for id in ("one", "two"):
        Book(inbox).keep("a@example.org", ["b@example.org"], f"Message-ID: <{id}@x>\r\n\r\n".encode())
    book = Book(inbox)
    book.keep("a@example.org", ["b@example.org"], b"Message-Id: <three@x>\r\n\r\n")
    book.keep("a@example.org", ["b@example.org"], b"Subject: without a name\r\n\r\n")

    assert [bool(book.find(f"<{id}@x>")) for id in ("one", "two", "three", "four", "")] == [True] * 3 + [False] * 2


def test_a_mail_that_is_being_kept_while_its_connection_breaks_is_under_way_to_the_end(tmp_path):
    is_writing, may_write = threading.Event(), threading.Event()

    class SlowInbox(Inbox):
        def keep(self, *mail):
            is_writing.set()
            assert may_write.wait(10)
            return super().keep(*mail)

    async def lose_the_connection():
        keeping = asyncio.create_task(InboxHandler(book).handle_DATA(None, None, envelope))
        await asyncio.to_thread(is_writing.wait, 10)
        keeping.cancel()
        await asyncio.wait([keeping])
        was_quiet = book.is_quiet
        may_write.set()
        while not book.is_quiet:
            await asyncio.sleep(0)
        return was_quiet

    book, envelope = Book(SlowInbox(tmp_path)), Envelope()
    envelope.original_content = b"Message-ID: <slow@x>\r\n\r\n"

    assert not asyncio.run(lose_the_connection())
    assert book.find("<slow@x>")
