"""Asking Redis: one client for all threads of a process, and one wait, not one for each call, when it hangs.

What is asked, all of it, stands in queue.py (what waits, and what was sent) and in throttles.py (whom to leave alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import methodcaller
from typing import Any

from redis import Redis, RedisCluster, RedisError

from jobs import redis_client
from jobs.conf import tunables
from jobs.outage import Outage

PATIENCE_SECONDS = 2.0  # a Redis that is slower than this counts as gone

Away = RedisError  # what whoever asks may be told


class Hangs(RedisError):
    """Redis hung a moment ago and is not asked until it answers."""


class NoCluster(RedisError):
    """No node answers, or together they are no whole cluster; redis-py's own error for this is no RedisError."""


@cache
def server() -> Redis | RedisCluster:
    return redis_client.connect(tunables().redis_url, patience_seconds=PATIENCE_SECONDS)


def ask_afresh() -> None:
    """As somebody who has never spoken to it. Of a cluster, all who could be asked for a key."""
    client = redis_client.connect(tunables().redis_url, patience_seconds=PATIENCE_SECONDS)
    try:
        client.ping(target_nodes=client.PRIMARIES) if isinstance(client, RedisCluster) else client.ping()
    finally:
        client.close()


outage = Outage("redis", ask_afresh)


@contextmanager
def asking() -> Iterator[Redis | RedisCluster]:
    """Redis, unless it hangs: everybody can do without, so it costs this process one wait and not one for each call."""
    if outage.is_on:
        raise Hangs
    try:
        with outage.watch():
            yield server()
    except redis_client.NOBODY as error:
        if isinstance(error, Away):
            raise
        server.cache_clear()  # all nodes may stand elsewhere now: begin again with those of the URL
        raise NoCluster from error


def ask_all(client: Redis | RedisCluster, commands: Iterable[methodcaller]) -> list[Any]:
    """The answers to these commands in their order, from one round trip.

    A cluster is asked one by one, until the first error: when a node hangs, redis-py's pipeline asks again for each
    of its commands, and waits for each (twenty commands, half of them there: 46 s).
    """
    if isinstance(client, RedisCluster):
        return [command(client) for command in commands]
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            command(pipe)
        return pipe.execute()
