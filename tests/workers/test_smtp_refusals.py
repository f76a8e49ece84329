"""What servers refuse, and how they misbehave, before the dot: nothing was sent, and the next mail can go."""

from __future__ import annotations

import asyncio

import pytest

from jobs import errors
from scheduler.embedded.faulty_smtp import Act, FaultySmtp
from tests.workers.letters import letter
from tests.workers.test_smtp import ANN, BOB, CYD, NO_TLS, SHORT, TIMEOUTS, both_ways, talking_to
from workers.providers import Endpoint
from workers.smtp import Conversation


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    ("answer", "error"), [("451 4.3.0 Later", errors.Transient), ("550 5.7.1 Never", errors.Permanent)]
)
def test_a_refusal_before_data_leaves_the_connection_usable(pipelining, phase, answer, error):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server) as conversation:
            server.once(phase, answer)
            with pytest.raises(error) as caught:
                await conversation.offer(letter())
            assert caught.value.code == int(answer[:3])
            assert conversation.is_reusable

            await conversation.offer(letter())
            await conversation.commit()

            assert len(server.accepted) == 1
            assert server.connections == 1
            assert len(server.heard("RSET")) == 1

    asyncio.run(trip())


@both_ways
def test_a_connection_that_cannot_be_reset_is_dropped(pipelining):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server, SHORT) as conversation:
            server.answers |= {"mail": "550 Never", "rset": Act.STALL}
            with pytest.raises(errors.Permanent):
                await conversation.offer(letter())
            assert not conversation.is_reusable

    asyncio.run(trip())


def test_a_go_ahead_for_a_mail_nobody_may_have_is_never_answered_with_a_dot():
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.answers |= {"rcpt": "550 5.1.1 Unknown", "data": "354 Go ahead"}
            with pytest.raises(errors.Permanent):
                await conversation.offer(letter())
            await server.until(lambda: server.open_connections == 0)

            assert (server.dots, server.unfinished, server.heard("RSET")) == (0, [b""], [])
            assert not conversation.is_reusable

    asyncio.run(trip())


GONE, BUSY = "550 5.1.1 Gone", "450 4.2.1 Busy"


@both_ways
@pytest.mark.parametrize(
    ("answers", "is_last_attempt", "outcome"),
    [
        ({}, False, (ANN, BOB, CYD)),
        ({BOB: GONE}, False, (ANN, CYD)),
        ({BOB: BUSY}, False, errors.Transient),
        ({BOB: BUSY}, True, (ANN, CYD)),
        ({BOB: GONE, CYD: BUSY}, False, errors.Transient),
        ({BOB: GONE, CYD: BUSY}, True, (ANN,)),
        ({ANN: GONE, BOB: GONE, CYD: GONE}, False, errors.Permanent),
        ({ANN: GONE, BOB: GONE, CYD: GONE}, True, errors.Permanent),
        ({ANN: GONE, BOB: GONE, CYD: BUSY}, False, errors.Transient),
        ({ANN: GONE, BOB: GONE, CYD: BUSY}, True, errors.Transient),
        ({ANN: BUSY, BOB: BUSY, CYD: BUSY}, True, errors.Transient),
    ],
)
def test_partly_refused_recipients_are_decided_before_the_dot(pipelining, answers, is_last_attempt, outcome):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server) as conversation:
            server.rcpt_answers = answers
            offered = letter(recipients=(ANN, BOB, CYD), is_last_attempt=is_last_attempt)
            if not isinstance(outcome, tuple):
                with pytest.raises(outcome):
                    await conversation.offer(offered)
                assert server.dots == 0
                return

            await conversation.offer(offered)
            await conversation.commit()

            assert server.accepted[0].recipients == conversation.accepted == outcome
            assert {refusal.address: f"{refusal.code} {refusal.detail}" for refusal in conversation.refused} == answers

    asyncio.run(trip())


# ── Servers that misbehave before the dot ─────────────────────────────────────────────────────


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Act.DROP, "smtp_closed"),
        (Act.RESET, "smtp_closed"),
        (Act.STALL, "timeout"),
        ("421 4.3.2 Shutting down", "smtp_closing"),
        ("Segmentation fault", "smtp_protocol"),
        ("334 Hm", "smtp_protocol"),
    ],
)
def test_a_server_that_breaks_off_before_data_is_transient(pipelining, phase, answer, kind):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server:
            timeouts = SHORT if answer is Act.STALL else TIMEOUTS
            async with talking_to(server, timeouts) as conversation:
                server.once(phase, answer)
                with pytest.raises(errors.Transient) as caught:
                    await conversation.offer(letter())

                assert caught.value.kind == kind
                assert not isinstance(caught.value, errors.Unanswered)
            await server.until(lambda: server.open_connections == 0)
            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("answer", "error", "kind"),
    [
        ("552 5.3.4 Too big", errors.Permanent, "smtp_too_big"),
        ("451 4.3.0 Disk full", errors.Transient, "smtp_4xx"),
        ("421 4.3.2 Shutting down", errors.Transient, "smtp_closing"),
        (Act.DROP, errors.Transient, "smtp_closed"),
        (Act.RESET, errors.Transient, "smtp_closed"),
        ("%%%", errors.Transient, "smtp_protocol"),
    ],
)
def test_a_server_that_breaks_off_in_the_middle_of_a_body_is_noticed(answer, error, kind):
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.in_body = (1000, answer)
            with pytest.raises(error) as caught:
                await conversation.offer(letter(body=b"x" * 12_000_000 + b"\r\n"))

            assert caught.value.kind == kind
            assert not conversation.is_reusable
            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("phase", "answer", "kind"),
    [
        ("banner", "554 5.7.1 Your address is listed", "smtp_greeting"),
        ("banner", "421 4.3.2 Full", "smtp_closing"),
        ("banner", Act.DROP, "smtp_closed"),
        ("banner", Act.STALL, "timeout"),
        ("banner", "SSH-2.0-OpenSSH_9.9", "smtp_protocol"),
        ("banner", "354 Hm", "smtp_protocol"),
        ("ehlo", "451 4.3.0 Later", "smtp_greeting"),
        ("ehlo", Act.DROP, "smtp_closed"),
    ],
)
def test_a_session_that_does_not_begin_is_transient(phase, answer, kind):
    async def trip():
        async with FaultySmtp() as server:
            server.answers[phase] = answer
            with pytest.raises(errors.Transient) as caught:
                await Conversation.open(Endpoint("main", "127.0.0.1", server.port), SHORT, tls=NO_TLS)
            assert caught.value.kind == kind
            await server.until(lambda: server.open_connections == 0)

    asyncio.run(trip())


def test_where_nobody_listens_is_transient():
    async def trip():
        async with FaultySmtp() as server:
            port = server.port
        for host, kind in (("127.0.0.1", "connect"), ("no-such-host.invalid", "dns"), ("x" * 70, "dns")):
            with pytest.raises(errors.Transient) as caught:
                await Conversation.open(Endpoint("main", host, port), TIMEOUTS, tls=NO_TLS)
            assert caught.value.kind == kind

    asyncio.run(trip())
