"""The local inbox: a real SMTP conversation, and files that are complete or absent."""

from __future__ import annotations

import smtplib
import socket
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from scheduler.embedded.child import Child, free_port, is_port_free
from scheduler.embedded.inbox import MAX_MAIL_BYTES, Inbox

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
