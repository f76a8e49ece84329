"""Encryption and passwords."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from jobs import errors
from scheduler.embedded.faulty_smtp import Act, AtDot, FaultySmtp
from tests.workers.letters import letter
from workers import smtp_hello
from workers.providers import parse
from workers.smtp import Conversation
from workers.smtp_wire import Timeouts

TIMEOUTS = Timeouts(connect=5, command=5, dot=5)
USERS = {"shop": "pä ss:w/rd"}
LOGIN = "shop:p%C3%A4%20ss%3Aw%2Frd@"


class Authority:
    """A certificate authority with a server certificate for 127.0.0.1 and for mail.test."""

    def __init__(self, folder):
        ca = trustme.CA()
        self.file = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.file))
        self.server = self._context(ca, "127.0.0.1", "localhost")
        self.server_of_another_name = self._context(ca, "mail.test")

    def _context(self, ca, *names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


async def send_one(server, url):
    conversation = await Conversation.open(parse("main", url), TIMEOUTS)
    await conversation.offer(letter())
    assert server.accepted == []
    await conversation.commit()
    await conversation.close()


def refused(server, url) -> errors.Transient:
    async def trip():
        async with server:
            with pytest.raises(errors.Transient) as caught:
                await Conversation.open(parse("main", url.format(port=server.port)), TIMEOUTS)
            await server.until(lambda: server.open_connections == 0)
            return caught.value

    error = asyncio.run(trip())
    assert server.accepted == []
    assert USERS["shop"] not in error.detail
    return error


@pytest.mark.parametrize("scheme", ["smtps", "smtp+tls"])
@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "XOAUTH2 LOGIN PLAIN"])
def test_a_mail_goes_out_encrypted_and_authenticated(authority, scheme, mechanisms):
    async def trip():
        tls = {"tls" if scheme == "smtps" else "starttls": authority.server}
        async with FaultySmtp(users=USERS, mechanisms=mechanisms, **tls) as server:
            await send_one(server, f"{scheme}://{LOGIN}127.0.0.1:{server.port}?ca={authority.file}")

            assert len(server.accepted) == 1
            assert server.logins == [f"{'LOGIN' if mechanisms == 'LOGIN' else 'PLAIN'} shop tls"]
            assert len(server.heard("EHLO")) == (1 if scheme == "smtps" else 2)

    asyncio.run(trip())


def test_without_commit_nothing_is_sent_over_tls_either(authority):
    async def trip():
        async with FaultySmtp(tls=authority.server) as server:
            url = f"smtps://127.0.0.1:{server.port}?ca={authority.file}"
            conversation = await Conversation.open(parse("main", url), TIMEOUTS)
            await conversation.offer(letter(body=b"x" * 3_000_000 + b"\r\n"))
            await conversation.close()
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


@pytest.mark.parametrize("answer", [Act.DROP, Act.RESET, "250-x\r\n" * 100_000])
def test_a_server_that_gives_no_clear_answer_in_tls_is_unanswered(authority, answer):
    async def trip():
        async with FaultySmtp(tls=authority.server) as server:
            server.at_dot = AtDot(True, answer)
            url = f"smtps://127.0.0.1:{server.port}?ca={authority.file}"
            conversation = await Conversation.open(parse("main", url), TIMEOUTS)
            await conversation.offer(letter())
            with pytest.raises(errors.Unanswered):
                await conversation.commit()

    asyncio.run(trip())


@pytest.mark.parametrize("scheme", ["smtps", "smtp+tls"])
def test_a_big_mail_arrives_whole_over_tls(authority, scheme):
    body = b"Subject: Big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 50_000

    async def trip():
        async with FaultySmtp(**{"tls" if scheme == "smtps" else "starttls": authority.server}) as server:
            url = f"{scheme}://127.0.0.1:{server.port}?ca={authority.file}"
            conversation = await Conversation.open(parse("main", url), TIMEOUTS)
            await conversation.offer(letter(body=body))
            await conversation.commit()
            await conversation.close()

            assert server.accepted[0].body == body

    asyncio.run(trip())


@pytest.mark.parametrize("scheme", ["smtps", "smtp+tls"])
@pytest.mark.parametrize("fault", ["unknown authority", "another name"])
def test_a_certificate_that_proves_nothing_is_not_accepted(authority, scheme, fault):
    context = authority.server if fault == "unknown authority" else authority.server_of_another_name
    server = FaultySmtp(users=USERS, **{"tls" if scheme == "smtps" else "starttls": context})
    ca = "" if fault == "unknown authority" else f"?ca={authority.file}"

    error = refused(server, f"{scheme}://{LOGIN}127.0.0.1:{{port}}{ca}")

    assert error.kind == "tls"
    assert "certificate was not accepted" in error.detail
    assert server.logins == []


def test_starttls_that_is_required_and_not_offered_is_refused(authority):
    error = refused(FaultySmtp(users=USERS), f"smtp+tls://{LOGIN}127.0.0.1:{{port}}?ca={authority.file}")

    assert error.kind == "tls"
    assert "STARTTLS" in error.detail


def test_starttls_that_is_required_and_refused_is_refused(authority):
    server = FaultySmtp(starttls=authority.server)
    server.answers["starttls"] = "454 4.7.0 TLS not available"

    error = refused(server, f"smtp+tls://127.0.0.1:{{port}}?ca={authority.file}")

    assert (error.kind, error.code) == ("tls", 454)


def test_words_put_behind_the_starttls_reply_are_not_taken_for_encrypted_ones(authority):
    server = FaultySmtp(starttls=authority.server)
    server.answers["starttls"] = "220 Go ahead\r\n250-evil\r\n250 AUTH PLAIN"

    error = refused(server, f"smtp+tls://127.0.0.1:{{port}}?ca={authority.file}")

    assert error.kind == "tls"
    assert "spoke on" in error.detail


@pytest.mark.parametrize("answer", [Act.DROP, "421 4.3.2 Shutting down", "552 5.3.4 Too big"])
def test_what_happens_in_tls_while_the_mark_is_committed_spares_the_dot(authority, answer):
    async def trip():
        async with FaultySmtp(tls=authority.server) as server:
            url = f"smtps://127.0.0.1:{server.port}?ca={authority.file}"
            conversation = await Conversation.open(parse("main", url), TIMEOUTS)
            await conversation.offer(letter())
            await server.until(lambda: server.heard("DATA"))
            await server.tell_all(answer)
            with pytest.raises((errors.Transient, errors.Permanent)):
                await conversation.commit()
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


def test_a_server_that_speaks_no_tls_is_told_as_such(authority):
    assert refused(FaultySmtp(), f"smtps://127.0.0.1:{{port}}?ca={authority.file}").kind == "tls"


def test_a_server_that_hangs_up_at_the_handshake_is_told_as_such(authority):
    server = FaultySmtp(starttls=authority.server)
    server.answers["starttls"] = b"220 Go ahead\r\n"

    assert refused(server, f"smtp+tls://127.0.0.1:{{port}}?ca={authority.file}").kind == "tls"


def test_opportunistic_takes_what_it_gets(authority):
    async def trip(**options):
        async with FaultySmtp(**options) as server:
            await send_one(server, f"smtp://127.0.0.1:{server.port}")
            return server

    encrypted = asyncio.run(trip(starttls=authority.server_of_another_name))
    assert len(encrypted.accepted) == 1
    assert len(encrypted.heard("EHLO")) == 2
    assert len(asyncio.run(trip()).accepted) == 1


def test_opportunistic_goes_on_in_the_clear_when_starttls_is_refused(authority):
    async def trip():
        async with FaultySmtp(starttls=authority.server) as server:
            server.answers["starttls"] = "454 4.7.0 TLS not available"
            await send_one(server, f"smtp://127.0.0.1:{server.port}")
            assert len(server.accepted) == 1

    asyncio.run(trip())


def test_a_password_travels_in_the_clear_on_this_machine_only(monkeypatch):
    async def trip():
        async with FaultySmtp(users=USERS) as server:
            await send_one(server, f"smtp://{LOGIN}127.0.0.1:{server.port}")
            assert server.logins == ["PLAIN shop clear"]

    asyncio.run(trip())

    monkeypatch.setattr(smtp_hello.Wire, "peer", property(lambda _: "203.0.113.5"))
    server = FaultySmtp(users=USERS)
    error = refused(server, f"smtp://{LOGIN}127.0.0.1:{{port}}")
    assert error.kind == "tls"
    assert server.heard("AUTH") == []
    assert server.logins == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [("535 5.7.8 Bad credentials", 535), ("534 5.7.9 Stronger", 534), ("454 4.7.0 Later", 454), ("500 What", 500)],
)
def test_a_refused_password_is_the_operators_to_correct(answer, code):
    server = FaultySmtp(users=USERS)
    server.answers["auth"] = answer

    error = refused(server, f"smtp://{LOGIN}127.0.0.1:{{port}}")

    assert (error.kind, error.code) == ("smtp_auth", code)


def test_a_server_without_a_mechanism_that_we_speak_is_refused():
    assert (
        refused(FaultySmtp(users=USERS, mechanisms="XOAUTH2"), f"smtp://{LOGIN}127.0.0.1:{{port}}").kind == "smtp_auth"
    )
    assert refused(FaultySmtp(), f"smtp://{LOGIN}127.0.0.1:{{port}}").kind == "smtp_auth"
