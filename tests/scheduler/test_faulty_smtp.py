"""The fault kit's server: each phase × each act, heard by the standard library's client; and what its book says."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import pytest
import trustme

from scheduler.embedded.faulty_smtp import (
    ACCEPT_THEN_DROP,
    ACCEPT_THEN_STALL,
    THROW_AWAY_AND_DROP,
    Act,
    AtDot,
    Book,
    Delay,
    FaultySmtp,
    Mail,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")

LONG = 3600.0
PATIENCE = 30.0  # of a client that expects an answer
MESSAGE = b"Subject: Hello\r\nX-Job-ID: 7\r\n\r\n..one dot\r\n"
BODY = b"Subject: Hello\r\nX-Job-ID: 7\r\n\r\n.one dot\r\n"
ORDINARY = {
    "banner": 220,
    "ehlo": 250,
    "noop": 250,
    "mail": 250,
    "rcpt": 250,
    "data": 354,
    "dot": 250,
    "rset": 250,
    "quit": 221,
}


@pytest.fixture
def server():
    with FaultySmtp() as server:
        yield server


class Client:
    """A conversation step by step; each step gives the code of the answer, "closed" or "timeout"."""

    def __init__(self, server, *, patience=PATIENCE):
        self._address = (server.host, server.port)
        self._smtp = smtplib.SMTP(timeout=patience)
        self._smtp.local_hostname = "client.test"

    def step(self, phase):
        try:
            return self._steps()[phase]()[0]
        except smtplib.SMTPServerDisconnected as error:
            return "timeout" if "timed out" in str(error) else "closed"
        except ConnectionResetError:  # already while connecting
            return "closed"

    def _steps(self):
        return {
            "banner": lambda: self._smtp.connect(*self._address),
            "ehlo": self._smtp.ehlo,
            "noop": self._smtp.noop,
            "mail": lambda: self._smtp.mail("shop@example.org"),
            "rcpt": lambda: self._smtp.rcpt("ann@example.org"),
            "data": lambda: self._smtp.docmd("DATA"),
            "dot": lambda: self._finish(MESSAGE + b".\r\n"),
            "rset": self._smtp.rset,
            "quit": lambda: self._smtp.docmd("QUIT"),
        }

    def _finish(self, data):
        self._smtp.send(data)
        return self._smtp.getreply()

    def go_to(self, phase):
        """All that comes before it, with ordinary answers."""
        for known, code in ORDINARY.items():
            if known == phase:
                return
            assert self.step(known) == code

    def send(self, data):
        self._smtp.send(data)

    def wait_no_longer_than(self, seconds):
        self._smtp.timeout = seconds
        if self._smtp.sock:
            self._smtp.sock.settimeout(seconds)

    def close(self):
        self._smtp.close()


@contextmanager
def a_client(server, **options):
    client = Client(server, **options)
    try:
        yield client
    finally:
        client.close()


def send(server):
    """One mail, ordinarily; gives what the dot was answered."""
    with a_client(server) as client:
        client.go_to("dot")
        return client.step("dot")


# ── Phases × acts ─────────────────────────────────────────────────────────────────────────────

ACTS = {
    "text": ("451 4.3.0 Later", 451),
    "two lines": ("451-4.3.0 Later\r\n451 4.3.0 Much later", 451),
    "drop": (Act.DROP, "closed"),
    "reset": (Act.RESET, "closed"),
    "stall": (Act.STALL, "timeout"),
    "deaf": (Act.DEAF, "timeout"),
    "half a line": (b"4", 4),
    "delay": (Delay(0.01), "ordinary"),
    "delayed text": (Delay(0.01, "451 4.3.0 Later"), 451),
    "delayed drop": (Delay(0.01, Act.DROP), "closed"),
    "long delay": (Delay(LONG), "timeout"),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("phase", [*ORDINARY, "body"])
def test_each_act_at_each_phase_is_what_the_client_hears(server, phase, act):
    answer, heard = ACTS[act]
    at = "dot" if phase == "body" else phase  # where a client looks for an answer
    server.answers[phase] = answer

    with a_client(server) as client:
        client.go_to(at)
        if heard == "timeout":
            client.wait_no_longer_than(0.2)
        assert client.step(at) == (ORDINARY[at] if heard == "ordinary" else heard)
    if act != "deaf":
        server.wait_until(lambda: server.open_connections == 0)

    is_after_the_dot = phase in ("rset", "quit")
    is_only_late = at == "dot" and act in ("delay", "long delay") and (phase, act) != ("body", "long delay")
    assert len(server.accepted) == (is_after_the_dot or is_only_late)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("act", ACTS)
def test_at_the_dot_keeping_and_answering_are_two_things(server, kept, act):
    answer, heard = ACTS[act]
    server.at_dot = AtDot(kept, answer)

    with a_client(server) as client:
        client.go_to("dot")
        if heard == "timeout":
            client.wait_no_longer_than(0.2)
        assert client.step("dot") == (250 if heard == "ordinary" else heard)

    [mail] = server.mails
    assert (mail.kept, mail.body) == (kept, BODY)
    assert len(server.accepted) == kept
    if heard in (250, 451, "ordinary"):
        assert mail.heard_at <= mail.answered_at
        assert mail.answer in ("250 2.0.0 Queued as 1", answer, getattr(answer, "answer", None))
    else:
        assert (mail.answer, mail.answered_at) == (None, None)


@pytest.mark.parametrize("answer", ["250 2.0.0 Lies", "550 5.7.1 Spam", None])
def test_a_plain_answer_to_the_dot_keeps_what_it_accepts(server, answer):
    server.once("dot", answer)

    send(server)

    assert server.mails[0].kept == (answer != "550 5.7.1 Spam")


def test_one_recipient_is_refused_and_the_others_get_the_mail(server):
    server.rcpt_answers["ann@example.org"] = "550 5.1.1 No such user"

    with smtplib.SMTP(server.host, server.port, timeout=PATIENCE) as client:
        refused = client.sendmail("shop@example.org", ["ann@example.org", "bob@example.org"], MESSAGE)

    assert refused == {"ann@example.org": (550, b"5.1.1 No such user")}
    assert server.accepted[0].recipients == ("bob@example.org",)


def test_an_answer_in_the_middle_of_a_body_comes_before_the_dot(server):
    server.in_body = (10, "552 5.3.4 Too big")

    with a_client(server) as client:
        client.go_to("dot")
        client.send(b"0123456789")
        assert client._smtp.getreply() == (552, b"5.3.4 Too big")
        client.send(b"\r\n.\r\n")
        assert client.step("noop") == 250  # the dot is not answered again

    assert [(mail.kept, mail.answer) for mail in server.mails] == [(False, "552 5.3.4 Too big")]


# ── The script ────────────────────────────────────────────────────────────────────────────────


def test_the_script_is_asked_at_every_phase_what_stands_where(server):
    asked = []
    server.script = asked.append

    with smtplib.SMTP(server.host, server.port, timeout=PATIENCE) as client:
        client.sendmail("shop@example.org", ["ann@example.org", "bob@example.org"], MESSAGE)
        client.docmd("VRFY", "ann")

    both = ("ann@example.org", "bob@example.org")
    known = [(m.phase, m.sender, m.recipients, m.mail and m.mail.number) for m in asked]
    assert known == [
        ("banner", "", (), None),
        ("ehlo", "", (), None),
        ("mail", "shop@example.org", (), None),
        ("rcpt", "shop@example.org", both[:1], None),
        ("rcpt", "shop@example.org", both, None),
        ("data", "shop@example.org", both, None),
        ("body", "shop@example.org", both, None),
        ("dot", "shop@example.org", both, 1),
        ("vrfy", "", (), None),
        ("quit", "", (), None),
    ]
    assert {moment.connection for moment in asked} == {1}


def test_the_script_comes_first_and_where_it_says_nothing_the_other_knobs_do(server):
    server.script = lambda moment: "450 4.0.0 Script" if moment.phase == "mail" else None
    server.answers |= {"mail": "550 5.0.0 Answer", "noop": "550 5.0.0 Answer"}

    with a_client(server) as client:
        client.step("banner")

        assert (client.step("noop"), client.step("mail")) == (550, 450)


def test_an_error_in_the_script_is_no_fault_of_the_server_and_is_raised_at_the_end():
    def script(moment):
        return {}["oops"] if moment.phase == "mail" else None

    server = FaultySmtp(script=script).start()
    with a_client(server) as client:
        client.go_to("mail")
        assert (client.step("mail"), client.step("noop")) == (421, "closed")

    with pytest.raises(KeyError, match="oops"):
        server.stop()


def test_at_dot_says_where_it_stands_when_it_stands_elsewhere():
    server = FaultySmtp().start()
    server.answers["rcpt"] = ACCEPT_THEN_DROP
    with a_client(server) as client:
        client.go_to("rcpt")
        assert client.step("rcpt") == 421

    with pytest.raises(TypeError, match="at the dot only, not at 'rcpt'"):
        server.stop()


def test_an_error_of_the_test_is_not_hidden_by_one_of_the_script():
    def trip():
        with FaultySmtp(script=lambda moment: {}["oops"]) as server, a_client(server) as client:
            assert client.step("banner") == 421
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trip()


# ── Waiting ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", [Delay(LONG), Delay(LONG, Act.STALL), Act.STALL])
@pytest.mark.parametrize("phase", ["banner", "mail", "body", "dot"])
def test_a_wait_ends_when_the_client_leaves(server, phase, answer):
    server.answers[phase] = answer
    with a_client(server) as client:
        client.go_to("dot" if phase == "body" else phase)
        client.wait_no_longer_than(0.1)
        assert client.step("dot" if phase == "body" else phase) == "timeout"

    server.wait_until(lambda: server.open_connections == 0)


def test_a_dot_that_comes_while_the_server_does_not_listen_stands_in_the_book(server):
    server.answers["body"] = Act.STALL
    with a_client(server) as client:
        client.go_to("dot")
        client.wait_no_longer_than(0.1)
        client.step("dot")
    server.wait_until(lambda: server.open_connections == 0)

    assert [(mail.body, mail.kept, mail.answer) for mail in server.mails] == [(BODY, False, None)]
    assert server.unfinished == []


def test_while_one_waits_the_others_are_answered(server):
    server.once("dot", Delay(LONG))
    with a_client(server) as slow:
        slow.go_to("dot")
        slow.send(MESSAGE + b".\r\n")
        server.wait_until(lambda: server.mails)

        assert send(server) == 250

    assert [mail.answer for mail in server.mails] == [None, "250 2.0.0 Queued as 2"]


@pytest.mark.parametrize("act", [Delay(LONG), Act.STALL, Act.DEAF, None])
def test_a_stopped_server_leaves_nobody_waiting(act):
    with FaultySmtp() as server:
        server.answers["noop"] = act or "250 OK"
        client = Client(server)
        client.go_to("noop")
        client.send(b"NOOP\r\n")
        server.wait_until(lambda: server.heard("NOOP"))

    assert client.step("mail") in ("closed", 250)  # the 250 of the NOOP, if it was given
    assert client.step("mail") == "closed"
    client.close()
    assert server.open_connections == 0
    assert "smtp" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))


def test_a_held_answer_comes_when_it_is_released(server):
    hold = server.hold("250 2.0.0 Queued")
    with a_client(server) as client:
        client.go_to("dot")
        client.send(MESSAGE + b".\r\n")
        server.wait_until(lambda: hold.is_reached)
        assert (server.accepted[0].answer, send(server)) == (None, 250)

        hold.release()
        assert client._smtp.getreply() == (250, b"2.0.0 Queued as 1")


def test_a_hold_that_was_released_before_holds_nothing_up(server):
    server.hold("250 2.0.0 Queued").release()

    assert send(server) == 250


def test_a_hold_may_be_released_after_everything_is_over():
    with FaultySmtp() as server:
        hold = server.hold("220 ")
        with a_client(server) as client:
            client.wait_no_longer_than(0.05)
            assert client.step("banner") == "timeout"
        server.wait_until(lambda: server.open_connections == 0)

    hold.release()

    assert hold.is_reached


# ── The book ──────────────────────────────────────────────────────────────────────────────────


def test_the_book_has_every_dot_in_order_and_says_what_became_of_it(server):
    server.once("dot", ACCEPT_THEN_DROP, THROW_AWAY_AND_DROP, "451 4.3.0 Later", AtDot(False, "250 2.0.0 Lies"))

    heard = [send(server) for _ in range(5)]

    assert heard == ["closed", "closed", 451, 250, 250]
    assert [(m.number, m.connection, m.kept, m.answer) for m in server.mails] == [
        (1, 1, True, None),
        (2, 2, False, None),
        (3, 3, False, "451 4.3.0 Later"),
        (4, 4, False, "250 2.0.0 Lies"),
        (5, 5, True, "250 2.0.0 Queued as 5"),
    ]
    assert [mail.number for mail in server.accepted] == [1, 5]
    times = [mail.heard_at for mail in server.mails]
    assert times == sorted(times)
    for mail in server.mails[2:]:
        assert mail.heard_at <= mail.answered_at


def test_a_mail_is_the_envelope_and_the_unstuffed_body(server):
    send(server)

    [mail] = server.mails
    assert mail == Mail("shop@example.org", ("ann@example.org",), BODY)
    assert hash(mail) == hash(Mail("shop@example.org", ("ann@example.org",), BODY))
    assert (mail.job_id, mail.message_id, mail.header("X-Nothing")) == ("7", "", None)
    assert mail.message.get_content() == ".one dot\n"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n", "Grüße"),
        (b"Subject: folded\r\n over two lines\r\n", "folded over two lines"),
        (b"subject: any case\r\n", "any case"),
        (b"Subject: =?nonsense?b?AAAA?=\r\n", "=?nonsense?b?AAAA?="),
        (b"X-Other: 1\r\n", None),
    ],
)
def test_headers_are_read_unfolded_and_decoded(raw, read):
    assert Mail("", (), raw + b"\r\nSubject: of the body\r\n").header("Subject") == read


def test_a_connection_that_ends_before_the_dot_leaves_its_body_unfinished(server):
    with a_client(server) as client:
        client.go_to("dot")
        client.send(b"Subject: Hel")
    server.wait_until(lambda: server.open_connections == 0)

    assert (server.unfinished, server.mails, server.dots) == ([b"Subject: Hel"], [], 0)


def test_many_clients_at_once_are_all_in_the_book_while_others_read_it(server):
    with ThreadPoolExecutor(8) as clients:
        sent = [clients.submit(send, server) for _ in range(40)]
        while wait(sent, timeout=0.002).not_done:
            mails = server.mails
            assert [mail.number for mail in mails] == list(range(1, len(mails) + 1))

    assert {future.result() for future in sent} == {250}
    assert len(server.accepted) == 40
    assert {mail.connection for mail in server.mails} == set(range(1, 41))
    assert len(server.heard("MAIL FROM:")) == 40


def test_a_book_of_ones_own_may_keep_less():
    class Counting(Book):
        count = 0

        def hear(self, command):
            pass

        def finish(self, mail):
            self.count += 1

        def settle(self, mail, answer):
            assert answer.startswith("250 ")

    book = Counting()
    with FaultySmtp(book=book) as server:
        send(server)
        send(server)

    assert (book.count, server.mails, server.commands) == (2, [], [])


# ── Life ──────────────────────────────────────────────────────────────────────────────────────


def test_stopped_and_started_again_it_has_the_same_port_and_book():
    server = FaultySmtp().start()
    port = server.port
    send(server)
    server.stop()
    server.start()

    send(server)
    server.stop()

    assert (server.port, len(server.accepted)) == (port, 2)


def test_a_port_that_is_taken_is_told_at_once(server):
    with pytest.raises(OSError, match="in use"):
        FaultySmtp(port=server.port).start()


def test_what_is_no_port_is_told_at_once():
    with pytest.raises(OverflowError):
        FaultySmtp(port=70_000).start()


def test_in_asyncio_it_lives_in_the_running_loop():
    async def trip():
        async with FaultySmtp() as server:
            server.script = lambda moment: ACCEPT_THEN_STALL if moment.phase == "dot" else None
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"HELO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nHello\r\n.\r\n")
            await server.until(lambda: server.accepted)
            writer.close()
            await server.until(lambda: server.open_connections == 0)
            assert (await reader.read()).endswith(b"354 Go ahead\r\n")
            assert "smtp" not in [thread.name for thread in threading.enumerate()]
            return server.accepted

    assert asyncio.run(trip()) == [Mail("a@example.org", ("b@example.org",), b"Hello\r\n")]


@pytest.mark.parametrize("how", ["tls", "starttls"])
def test_encrypted_and_with_a_password(how):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    with FaultySmtp(**{how: context}, users={"shop": "secret"}) as server:
        if how == "tls":
            client = smtplib.SMTP_SSL(server.host, server.port, context=trusting, timeout=PATIENCE)
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=PATIENCE)
            client.starttls(context=trusting)
        with client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("shop", "wrong")
            client.login("shop", "secret")
            assert client.docmd("AUTH", "PLAIN nonsense")[0] == 501
            client.sendmail("shop@example.org", ["ann@example.org"], MESSAGE)

    assert server.accepted
    assert set(server.logins) >= {"PLAIN shop tls"}
