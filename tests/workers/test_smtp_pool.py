"""Connections, kept and let go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from jobs import errors
from scheduler.embedded.faulty_smtp import Act, FaultySmtp
from tests.workers.letters import letter
from workers.providers import Endpoint
from workers.smtp import MAX_TRANSACTIONS
from workers.smtp_pool import Pool
from workers.smtp_wire import Timeouts


@asynccontextmanager
async def a_pool(idle_seconds: float = 30.0):
    async with FaultySmtp() as server:
        pool = Pool(Endpoint("main", "127.0.0.1", server.port), Timeouts(5, 5, 5), idle_seconds=idle_seconds)
        try:
            yield server, pool
        finally:
            await pool.close()


async def send(pool):
    async with pool.lend() as loan:
        await loan.offer(letter())
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
            async with pool.lend() as loan:
                await loan.offer(letter())
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
            async with pool.lend() as loan:
                await pool.close()
                await loan.offer(letter())
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
