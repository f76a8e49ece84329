"""The point of no return: what is known, and what nobody can know, after and just before the dot."""

from __future__ import annotations

import asyncio
import select

import pytest

from jobs import errors
from scheduler.embedded.faulty_smtp import (
    ACCEPT_THEN_DROP,
    ACCEPT_THEN_STALL,
    THROW_AWAY_AND_DROP,
    Act,
    AtDot,
    FaultySmtp,
)
from tests.workers.letters import BODY, letter
from tests.workers.test_smtp import SHORT, talking_to


@pytest.mark.parametrize(
    ("at_dot", "kind"),
    [
        (ACCEPT_THEN_DROP, "smtp_closed"),
        (AtDot(True, Act.RESET), "smtp_closed"),
        (ACCEPT_THEN_STALL, "timeout"),
        (THROW_AWAY_AND_DROP, "smtp_closed"),
        (AtDot(False, Act.STALL), "timeout"),
        (AtDot(True, "Ok, thanks"), "smtp_protocol"),
        (AtDot(True, b"250 2.0.0 Queued, but the line does not e"), "smtp_closed"),
        (AtDot(True, "354 More?"), "smtp_protocol"),
        (AtDot(True, "250-2.0.0 and on it goes"), "timeout"),
        (AtDot(True, "250-2.0.0 and\r\n550 no"), "smtp_protocol"),
        (AtDot(False, "x" * 5000), "smtp_protocol"),
    ],
)
def test_no_clear_answer_to_the_dot_is_unanswered(at_dot, kind):
    async def trip():
        async with FaultySmtp() as server, talking_to(server, SHORT) as conversation:
            server.at_dot = at_dot
            await conversation.offer(letter())
            with pytest.raises(errors.Unanswered) as caught:
                await conversation.commit()

            assert caught.value.kind == kind
            assert not conversation.is_reusable
            assert len(server.accepted) == at_dot.kept

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("answer", "error", "kind", "is_reusable"),
    [
        ("451 4.7.1 Greylisted", errors.Transient, "smtp_greylisted", True),
        ("452 4.3.1 Disk full", errors.Transient, "smtp_4xx", True),
        ("550 5.7.1 Spam", errors.Permanent, "smtp_policy", True),
        ("554 5.6.0 Bad content", errors.Permanent, "smtp_content", True),
        ("421 4.3.2 Shutting down", errors.Transient, "smtp_closing", False),
    ],
)
def test_a_clear_refusal_of_the_dot_is_no_riddle(answer, error, kind, is_reusable):
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.once("dot", answer)
            await conversation.offer(letter())
            with pytest.raises(error) as caught:
                await conversation.commit()

            assert (caught.value.kind, caught.value.code) == (kind, int(answer[:3]))
            assert conversation.is_reusable is is_reusable
            assert server.accepted == []

    asyncio.run(trip())


def test_cancelled_after_the_dot_is_unanswered_and_does_not_pretend_to_be_a_cancellation():
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.at_dot = ACCEPT_THEN_STALL
            await conversation.offer(letter())
            commit = asyncio.create_task(conversation.commit())
            await server.until(lambda: server.dots)
            commit.cancel()
            with pytest.raises(errors.Unanswered) as caught:
                await commit

            assert caught.value.kind == "cancelled"
            assert len(server.accepted) == 1

    asyncio.run(trip())


def test_cancelled_before_the_dot_is_known_not_to_be_sent():
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            await conversation.offer(letter())
            commit = asyncio.create_task(conversation.commit())
            await asyncio.sleep(0)
            commit.cancel()
            with pytest.raises(errors.Interrupted):
                await commit
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


@pytest.mark.parametrize("awaited", [True, False], ids=["seen while waiting", "still in the kernel"])
@pytest.mark.parametrize(
    ("answer", "error", "kind"),
    [
        (Act.DROP, errors.Transient, "smtp_closed_before_dot"),
        (Act.RESET, errors.Transient, "smtp_closed_before_dot"),
        ("421 4.4.2 Idle", errors.Transient, "smtp_closed_before_dot"),
        ("451 4.3.0 Disk full", errors.Transient, "smtp_closed_before_dot"),
        ("552 5.3.4 Too big", errors.Permanent, "smtp_too_big"),
        ("%%%", errors.Transient, "smtp_closed_before_dot"),
        ("250 2.0.0 Taken", errors.Unanswered, "smtp_protocol"),
    ],
)
def test_what_happens_while_the_mark_is_committed_spares_the_dot(answer, error, kind, awaited):
    async def trip():
        server = FaultySmtp().start()
        try:
            async with talking_to(server) as conversation:
                server.in_body = (len(BODY), answer)
                await conversation.offer(letter())
                if awaited:
                    wire = conversation._wire
                    await server.until(lambda: wire.has_input or not wire.is_open)
                else:
                    await_in_the_kernel(conversation)
                with pytest.raises(error) as caught:
                    await conversation.commit()
                assert caught.value.kind == kind
                assert not conversation.is_reusable
        finally:
            server.stop()
        assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


def await_in_the_kernel(conversation) -> None:
    """Block the event loop, as a busy one is, until the socket has something to read."""
    sock = conversation._wire._transport.get_extra_info("socket")
    readable, _, _ = select.select([sock.fileno()], [], [], 5)
    assert readable


def test_an_answer_that_came_too_early_for_the_offer_is_heard_at_the_dot():
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            server.in_body = (1000, "250 2.0.0 Taken")
            await conversation.offer(letter(body=b"x" * 12_000_000 + b"\r\n"))
            with pytest.raises(errors.Unanswered):
                await conversation.commit()
            assert server.dots == 0

    asyncio.run(trip())


@pytest.mark.parametrize("step", ["commit twice", "commit without offer", "offer twice"])
def test_steps_out_of_order_are_mistakes_of_ours(step):
    async def trip():
        async with FaultySmtp() as server, talking_to(server) as conversation:
            if step == "commit without offer":
                with pytest.raises(RuntimeError):
                    await conversation.commit()
                return
            await conversation.offer(letter())
            if step == "commit twice":
                await conversation.commit()
                with pytest.raises(RuntimeError):
                    await conversation.commit()
            else:
                with pytest.raises(RuntimeError):
                    await conversation.offer(letter())
            assert server.dots == (step == "commit twice")

    asyncio.run(trip())
