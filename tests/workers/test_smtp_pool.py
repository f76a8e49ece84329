"""Connections, kept and let go."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from jobs import errors
from scheduler.embedded.faulty_smtp import Act, FaultySmtp
from scheduler.embedded.faulty_smtp.holds import AFTER_DOT
from tests.workers.letters import BODY, letter
from workers.providers import Endpoint
from workers.smtp import MAX_TRANSACTIONS
from workers.smtp_pool import Pool
from workers.smtp_wire import Timeouts


@asynccontextmanager
async def a_pool(idle_seconds: float = 30.0, connections: int = 64, **server_options):
    async with FaultySmtp(**server_options) as server:
        endpoint = Endpoint("main", "127.0.0.1", server.port, connections=connections)
        pool = Pool(endpoint, Timeouts(5, 5, 5), idle_seconds=idle_seconds)
        try:
            yield server, pool
        finally:
            await pool.close()


@asynccontextmanager
async def lent(pool, mail=None):
    loan = await pool.lend(mail or letter())
    try:
        yield loan
    finally:
        loan.give_back()


async def send(pool, mail=None):
    async with lent(pool, mail) as loan:
        await loan.offer()
        await loan.commit()


def test_a_connection_is_used_again_after_a_mail_and_after_a_refusal():
    async def trip():
        async with a_pool() as (server, pool):
            await send(pool)
            server.once("mail", "451 4.3.0 Later")
            with pytest.raises(errors.Transient):
                await send(pool)
            server.once("dot", "550 5.7.1 Spam")
            with pytest.raises(errors.Permanent):
                await send(pool)
            await send(pool)

            assert (server.connections, len(server.accepted)) == (1, 2)

    asyncio.run(trip())


def test_mails_at_once_have_connections_of_their_own():
    async def trip():
        async with a_pool() as (server, pool):
            await asyncio.gather(*(send(pool) for _ in range(20)))
            assert server.connections == 20
            await asyncio.gather(*(send(pool) for _ in range(20)))

            assert (server.connections, len(server.accepted)) == (20, 40)

    asyncio.run(trip())


def test_leaving_without_commit_drops_the_connection_without_the_dot():
    async def trip():
        async with a_pool() as (server, pool):
            async with lent(pool) as loan:
                await loan.offer()
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


def test_an_unanswered_connection_is_not_used_again():
    async def trip():
        async with a_pool() as (server, pool):
            server.once("dot", Act.DROP)
            with pytest.raises(errors.Unanswered):
                await send(pool)
            await send(pool)

            assert (server.connections, len(server.accepted)) == (2, 1)

    asyncio.run(trip())


def test_a_connection_is_quit_after_enough_mails():
    async def trip():
        async with a_pool() as (server, pool):
            for _ in range(MAX_TRANSACTIONS + 1):
                await send(pool)

            assert server.connections == 2
            await server.until(lambda: server.heard("QUIT"))

    asyncio.run(trip())


def test_what_lies_idle_too_long_is_quit_by_itself():
    async def trip():
        async with a_pool(idle_seconds=0.02) as (server, pool):
            await asyncio.gather(send(pool), send(pool))
            await server.until(lambda: server.open_connections == 0)

            assert len(server.heard("QUIT")) == 2

    asyncio.run(trip())


@pytest.mark.parametrize("farewell", [Act.DROP, Act.RESET, "421 4.4.2 Idle too long"])
def test_an_idle_connection_that_died_is_noticed_before_it_is_lent(farewell):
    async def trip():
        async with a_pool() as (server, pool):
            await send(pool)
            await server.tell_all(farewell)
            await server.until(lambda: not pool._idle[0][1].is_reusable)
            await send(pool)

            assert (server.connections, len(server.accepted)) == (2, 2)

    asyncio.run(trip())


@pytest.mark.parametrize("answer", [Act.DROP, Act.RESET, "421 4.4.2 Idle too long"])
def test_an_idle_connection_that_died_unnoticed_is_replaced(answer):
    async def trip():
        async with a_pool() as (server, pool):
            await send(pool)
            server.once("mail", answer)
            await send(pool)

            assert (server.connections, len(server.accepted)) == (2, 2)

    asyncio.run(trip())


def test_a_fresh_connection_that_dies_is_not_replaced():
    async def trip():
        async with a_pool() as (server, pool):
            server.once("mail", Act.DROP)
            with pytest.raises(errors.Transient):
                await send(pool)
            await send(pool)
            server.once("mail", Act.DROP, Act.DROP)
            with pytest.raises(errors.Transient):
                await send(pool)

            assert (server.connections, len(server.accepted)) == (3, 1)

    asyncio.run(trip())


def test_a_closed_pool_keeps_nothing():
    async def trip():
        async with a_pool() as (server, pool):
            await send(pool)
            async with lent(pool) as loan:
                await pool.close()
                await loan.offer()
                await loan.commit()
            await pool.close()
            await pool.close()
            await server.until(lambda: server.open_connections == 0)

            assert len(server.accepted) == 2
            assert len(server.heard("QUIT")) == 1

    asyncio.run(trip())


def test_a_cancelled_delivery_drops_its_connection():
    async def trip():
        async with a_pool() as (server, pool):
            server.answers["data"] = Act.STALL
            task = asyncio.create_task(send(pool))
            await server.until(lambda: server.heard("DATA"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda: server.open_connections == 0)

            assert (server.accepted, server.dots) == ([], 0)

    asyncio.run(trip())


# ── More messages than connections ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pipelining", [True, False])
def test_no_more_connections_are_opened_than_the_provider_allows(pipelining):
    async def trip():
        async with a_pool(connections=3, pipelining=pipelining) as (server, pool):
            await asyncio.gather(*(send(pool) for _ in range(20)))

            assert (server.connections, len(server.accepted)) == (3, 20)

    asyncio.run(trip())


def test_the_next_envelope_travels_with_the_dot():
    """This server answers a dot only when it has heard the next MAIL: who waits for the answer first waits in vain."""

    async def serve(reader, writer):
        heard = b""

        async def until(words):
            nonlocal heard
            while words not in heard:
                data = await reader.read(65536)
                if not data:
                    return False
                heard += data
            heard = heard.partition(words)[2]
            return True

        async def say(words):
            writer.write(words)
            await writer.drain()

        await say(b"220 x\r\n")
        await until(b"EHLO")
        await say(b"250-x\r\n250 PIPELINING\r\n")
        await until(b"DATA\r\n")
        await say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await until(b"\r\n.\r\nMAIL FROM:<shop@sendonce.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
        await say(b"250 first\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        await until(b"\r\n.\r\n")
        await say(b"250 second\r\n")
        await until(b"QUIT")
        writer.close()

    async def trip():
        server = await asyncio.start_server(serve, "127.0.0.1")
        async with server:
            endpoint = Endpoint("main", "127.0.0.1", server.sockets[0].getsockname()[1], connections=1)
            pool = Pool(endpoint, Timeouts(2, 2, 2))
            await asyncio.gather(send(pool), send(pool, letter(recipients=("bob@example.com",))))
            await pool.close()

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("answer", "error", "connections"),
    [
        ("550 5.7.1 Spam", errors.Permanent, 1),
        ("451 4.7.1 Later", errors.Transient, 1),
        ("421 4.3.2 Shutting down", errors.Transient, 2),
        (Act.DROP, errors.Unanswered, 2),
        (Act.RESET, errors.Unanswered, 2),
    ],
)
def test_whatever_becomes_of_a_dot_the_message_behind_it_is_sent_once(answer, error, connections):
    async def trip():
        async with a_pool(connections=1) as (server, pool):
            server.once("dot", answer)
            first, second = await asyncio.gather(send(pool), send(pool), return_exceptions=True)

            assert (type(first), second) == (error, None)
            assert (server.connections, len(server.accepted)) == (connections, 1)

    asyncio.run(trip())


def test_a_server_that_forgets_what_came_behind_a_dot_costs_a_wait_and_no_attempt():
    async def trip():
        async with FaultySmtp() as server:
            pool = Pool(Endpoint("main", "127.0.0.1", server.port, connections=1), Timeouts(5, 0.1, 5))
            server.once("mail", "250 2.1.0 Ok", Act.STALL)
            await asyncio.gather(send(pool), send(pool))
            await pool.close()

            assert (server.connections, len(server.accepted)) == (2, 2)

    asyncio.run(trip())


def test_who_waits_too_long_behind_a_dot_takes_the_next_connection_that_is_free(monkeypatch):
    monkeypatch.setattr("workers.smtp_pool.PATIENCE_SECONDS", 0.0)

    async def trip():
        async with a_pool(connections=2) as (server, pool):
            silence = server.hold(AFTER_DOT)
            trips = [asyncio.create_task(send(pool)) for _ in range(3)]
            await server.until(lambda: len(server.accepted) == 3)
            await asyncio.wait(trips, return_when=asyncio.FIRST_COMPLETED)
            assert silence.is_reached
            silence.release()
            await asyncio.gather(*trips)
            await server.until(lambda: server.open_connections == 1)

            assert (server.connections, len(server.accepted), server.dots) == (2, 3, 3)

    asyncio.run(trip())


def test_a_message_that_is_given_up_behind_a_dot_is_not_sent_and_leaves_its_place():
    async def trip():
        async with a_pool(connections=1) as (server, pool):
            answer = server.hold(AFTER_DOT)
            first = asyncio.create_task(send(pool))
            second = asyncio.create_task(send(pool, letter(recipients=("bob@example.com",))))
            await server.until(lambda: answer.is_reached)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            answer.release()
            await first
            await send(pool)

            assert [mail.recipients for mail in server.accepted] == [("ann@example.com",)] * 2
            assert server.connections == 2

    asyncio.run(trip())


@pytest.mark.parametrize("boards", [True, False])
def test_who_gets_no_connection_in_time_is_interrupted_and_nothing_of_it_is_sent(boards):
    async def trip():
        async with FaultySmtp(pipelining=boards) as server:
            pool = Pool(Endpoint("main", "127.0.0.1", server.port, connections=1), Timeouts(0.05, 5, 5))
            answer = server.hold(AFTER_DOT)
            first, second = asyncio.create_task(send(pool)), asyncio.create_task(send(pool))
            with pytest.raises(errors.Interrupted) as caught:
                await second
            answer.release()
            await first
            await send(pool)
            await pool.close()

            assert caught.value.kind == "connections_busy"
            assert (len(server.accepted), server.connections) == (2, 2 if boards else 1)
            assert (pool._lent, len(pool._waiting), len(pool._boarded)) == (0, 0, 0)

    asyncio.run(trip())


def test_a_letter_that_this_server_cannot_take_boards_nobody():
    async def trip():
        async with a_pool(connections=1, extensions=("8BITMIME",)) as (server, pool):
            foreign = letter(recipients=("ännchen@example.com",), needs_smtputf8=True)
            done = await asyncio.gather(send(pool), send(pool, foreign), send(pool), return_exceptions=True)

            assert [type(outcome) for outcome in done] == [type(None), errors.Permanent, type(None)]
            assert (server.connections, len(server.accepted)) == (1, 2)

    asyncio.run(trip())


def test_after_all_kinds_of_trouble_no_place_is_lost_and_nothing_was_sent_twice():
    chance = random.Random(7)

    def trouble(phase):
        return chance.choice([None] * 6 + ["451 4.3.0 Later", "550 5.7.1 No", "421 4.3.2 Closing", Act.DROP, Act.RESET])

    async def trip():
        async with a_pool(connections=3) as (server, pool):
            most = 0

            async def one(number):
                nonlocal most
                for phase in ("mail", "rcpt", "data", "dot"):
                    if answer := trouble(phase):
                        server.once(phase, answer)
                own = letter(body=BODY.replace(b"<1@", b"<trip-%d@" % number))
                task = asyncio.create_task(send(pool, own))
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
                    task.cancel()
                await asyncio.wait([task])
                most = max(most, server.open_connections)

            await asyncio.gather(*(one(number) for number in range(300)))
            server._once.clear()
            await asyncio.gather(*(send(pool) for _ in range(3)))

            bodies = [mail.body for mail in server.accepted if b"<1@" not in mail.body]
            assert len(bodies) == len(set(bodies))
            assert pool._lent == 0
            assert not pool._waiting
            assert not pool._boarded

    asyncio.run(trip())
