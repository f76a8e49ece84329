"""The conversation with the two-step DATA, up to the dot."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiosmtpd.smtp import SMTP

from jobs import errors
from scheduler.embedded.faulty_smtp import Act, FaultySmtp, Mail
from tests.workers.letters import BODY, letter
from workers.providers import Endpoint
from workers.smtp import Conversation
from workers.smtp_wire import Timeouts

TIMEOUTS = Timeouts(connect=5, command=5, dot=5)
SHORT = Timeouts(connect=0.2, command=0.2, dot=0.2)

ANN, BOB, CYD = "ann@example.com", "bob@example.com", "cyd@example.com"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities: reading them takes longer than a test

both_ways = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step by step"])


@asynccontextmanager
async def talking_to(server, timeouts: Timeouts = TIMEOUTS) -> AsyncIterator[Conversation]:
    conversation = await Conversation.open(Endpoint("main", "127.0.0.1", server.port), timeouts, tls=NO_TLS)
    try:
        yield conversation
    finally:
        await conversation.close()


# ── A mail ────────────────────────────────────────────────────────────────────────────────────


@both_ways
def test_a_mail_is_accepted_with_the_dot_and_not_before(pipelining):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server) as conversation:
            await conversation.offer(letter())
            assert server.accepted == []
            assert server.dots == 0

            reply = await conversation.commit()

            assert (reply.code, reply.detail) == (250, "2.0.0 Queued as 1")
            assert server.accepted == [Mail("shop@sendonce.example", ("ann@example.com",), BODY)]
            assert conversation.accepted == ("ann@example.com",)
            assert conversation.refused == ()

    asyncio.run(trip())


def test_a_server_that_is_not_ours_takes_the_mail_too():
    class Sink:
        def __init__(self):
            self.contents = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd's name)
            self.contents.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
            return "250 Taken"

    async def trip(sink):
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: SMTP(sink, loop=loop), "127.0.0.1", 0) as server:
            endpoint = Endpoint("main", "127.0.0.1", server.sockets[0].getsockname()[1])
            conversation = await Conversation.open(endpoint, TIMEOUTS, tls=NO_TLS)
            for _ in range(2):
                await conversation.offer(letter(recipients=(ANN, BOB)))
                assert (await conversation.commit()).text == "Taken"
            await conversation.offer(letter())
            await conversation.close()

    sink = Sink()
    asyncio.run(trip(sink))

    assert sink.contents == [("shop@sendonce.example", [ANN, BOB], BODY)] * 2


@both_ways
def test_two_mails_go_over_one_connection(pipelining):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server) as conversation:
            for name in ("ann", "bob"):
                assert conversation.is_reusable
                await conversation.offer(letter(recipients=(f"{name}@example.com",)))
                await conversation.commit()

            assert [mail.recipients for mail in server.accepted] == [("ann@example.com",), ("bob@example.com",)]
            assert server.connections == 1

    asyncio.run(trip())


def test_lines_that_begin_with_dots_survive():
    stuffed = b"Subject: Dots\r\n\r\n..\r\n...two\r\n..one\r\nend.\r\n"

    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            await conversation.offer(letter(body=stuffed))
            await conversation.commit()

            assert server.accepted[0].body == b"Subject: Dots\r\n\r\n.\r\n..two\r\n.one\r\nend.\r\n"

    asyncio.run(trip())


def test_a_big_mail_arrives_whole():
    body = b"Subject: Big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 50_000

    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            await conversation.offer(letter(body=body))
            await conversation.commit()

            assert server.accepted[0].body == body

    asyncio.run(trip())


def test_the_envelope_says_what_the_server_offers():
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.extensions.append("SIZE 10000")
            utf8 = letter(recipients=("jörg@example.com",), needs_smtputf8=True, eight_bit=True)
            await conversation.offer(utf8)
            await conversation.commit()
            async with talking_to(server) as other:
                await other.offer(letter())

            plain = f"MAIL FROM:<shop@sendonce.example> SIZE={len(BODY)}"
            assert server.heard("MAIL") == ["MAIL FROM:<shop@sendonce.example> BODY=8BITMIME SMTPUTF8", plain]
            assert server.accepted[0].recipients == ("jörg@example.com",)

    asyncio.run(trip())


@pytest.mark.parametrize("code", [500, 502, 550])
def test_a_server_without_ehlo_is_greeted_with_helo(code):
    async def trip():
        async with FaultySmtp() as server:
            server.answers["ehlo"] = f"{code} What?"
            async with talking_to(server) as conversation:
                await conversation.offer(letter())
                await conversation.commit()

            assert conversation.capabilities == {}
            assert len(server.accepted) == 1

    asyncio.run(trip())


# ── Without the dot nothing is ever sent ──────────────────────────────────────────────────────


@both_ways
@pytest.mark.parametrize("ending", ["close", "abort", "exception"])
def test_without_commit_nothing_is_sent(pipelining, ending):
    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server:
            try:
                async with talking_to(server) as conversation:
                    await conversation.offer(letter())
                    if ending == "abort":
                        conversation.abort()
                    if ending == "exception":
                        raise errors.ClaimLost
            except errors.ClaimLost:
                pass
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots, server.unfinished) == ([], 0, [BODY])
            assert server.heard("QUIT") == []
            assert not conversation.is_reusable

    asyncio.run(trip())


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "body"])
def test_an_offer_cancelled_at_any_step_sends_nothing(pipelining, phase):
    body = BODY + b"x" * 12_000_000 + b"\r\n"

    async def trip():
        async with FaultySmtp(pipelining=pipelining) as server, talking_to(server) as conversation:
            if phase == "body":
                server.in_body = (0, Act.DEAF)
            else:
                server.answers[phase] = Act.STALL
            offer = asyncio.create_task(conversation.offer(letter(body=body)))
            await server.until(lambda: server.heard("DATA" if phase == "body" else phase.upper()))
            offer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await offer
            if phase != "body":
                await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)
            assert not conversation.is_reusable

    asyncio.run(trip())


def test_a_server_that_takes_no_more_of_a_body_runs_into_the_time_out():
    async def trip():
        async with FaultySmtp() as server, talking_to(server, SHORT) as conversation:
            server.in_body = (1000, Act.DEAF)
            with pytest.raises(errors.Transient) as caught:
                await conversation.offer(letter(body=b"x" * 12_000_000 + b"\r\n"))

            assert caught.value.kind == "timeout"
            assert not conversation.is_reusable
            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


@pytest.mark.parametrize(
    "body",
    [
        b".\r\n",
        b"a\r\n.\r\n",
        b"a\r\n.\r\nMAIL FROM:<x@example.com>\r\n",
        b"a\n.\n",
        b"a\n.\r\n",
        b"a\r.\r\n",
        b"a\r.\rb\r\n",
        b"a\r\n.\rb\r\n",
        b"no end of line",
        b"",
    ],
)
def test_a_body_that_could_end_itself_never_leaves(body):
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            with pytest.raises(errors.Invalid):
                await conversation.offer(letter(body=body))

            assert conversation.is_reusable
            assert server.heard("MAIL") == []

    asyncio.run(trip())


@pytest.mark.parametrize(
    "changes",
    [
        {"recipients": ()},
        {"recipients": ("ann@example.com>\r\nRCPT TO:<eve@example.com",)},
        {"recipients": ("ann@example.com\r\nDATA",)},
        {"recipients": ("a" * 250 + "@example.com",)},
        {"recipients": ("jörg@example.com",)},
        {"mail_from": "shop@sendonce.example> SIZE=1"},
    ],
)
def test_an_address_that_could_add_a_command_never_leaves(changes):
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            with pytest.raises(errors.Invalid):
                await conversation.offer(letter(**changes))

            assert conversation.is_reusable
            assert server.heard("MAIL") == []

    asyncio.run(trip())


# ── What this server cannot take ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("extensions", "changes", "kind"),
    [
        (["SIZE 20"], {}, "smtp_too_big"),
        (["8BITMIME"], {"needs_smtputf8": True}, "smtp_utf8_unsupported"),
        (["SMTPUTF8"], {"eight_bit": True}, "smtp_8bit_unsupported"),
    ],
)
def test_what_the_server_does_not_offer_is_permanent_before_mail(extensions, changes, kind):
    async def trip():
        async with FaultySmtp(extensions=extensions) as server, talking_to(server) as conversation:
            with pytest.raises(errors.Permanent) as caught:
                await conversation.offer(letter(**changes))

            assert caught.value.kind == kind
            assert conversation.is_reusable
            assert server.heard("MAIL") == []

    asyncio.run(trip())


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE many", f"SIZE {len(BODY)}"])
def test_a_limit_that_is_none_or_is_kept_stops_nothing(size):
    async def trip():
        async with FaultySmtp(extensions=[size]) as server, talking_to(server) as conversation:
            await conversation.offer(letter())
            await conversation.commit()
            assert len(server.accepted) == 1

    asyncio.run(trip())
