"""REDIS_URL, in each of its forms, becomes a client of redis-py.

What is said over it stands in queue.py and throttles.py. The forms:

    redis://[user:pass@]host:port[/db]
        one server; rediss:// over TLS, unix:///path over a socket
    redis+sentinel://[user:pass@]host:port[,host:port…]/service[/db]
        the service's master, whichever it is now; user and password are the master's, and those of the
        sentinels, if they have any, are ?sentinel_username=…&sentinel_password=…
    redis+cluster://[user:pass@]host:port[,host:port…]
        some of its nodes, which name the others
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from redis import ConnectionError, ConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

FORMS = (
    "redis://[user:pass@]host:port[/db], rediss://… (TLS), unix:///path, "
    "redis+sentinel://[user:pass@]host:port[,host:port…]/service[/db], "
    "redis+cluster://[user:pass@]host:port[,host:port…]"
)
NOBODY = (MasterNotFoundError, RedisClusterException)  # the sentinels, or the nodes, were asked in vain, one and all
CREDENTIALS = ("username", "password")
SERVER_PORT, SENTINEL_PORT = 6379, 26379

_ONE = re.compile(r"(rediss?://([^/?#]*@)?[^/?#@,\s]*(/\d*)?|unix://([^/?#]*@)?/[^?#]+)(\?[^#]*)?")
_SEVERAL = re.compile(
    r"redis\+(?P<kind>sentinel|cluster)://(?P<user>([^/?#]*@)?)(?P<hosts>[^/?#@\s]+)"
    r"(/(?P<service>[^/?#]*)(?P<db>(/\d*)?))?(?P<query>(\?[^#]*)?)"
)


@dataclass(frozen=True)
class Address:
    """What a REDIS_URL says; options in redis-py's words."""

    kind: str  # one, sentinel, cluster
    options: dict[str, Any]  # of a connection to a server
    hosts: list[tuple[str, int]]  # sentinels, or nodes of a cluster
    service: str
    sentinel_options: dict[str, Any]  # of a connection to a sentinel


def connect(url: str, *, patience_seconds: float) -> Redis | RedisCluster:
    """A client for all threads. A cluster is asked for its nodes at once: what a command raises, this may raise."""
    address = understand(url)
    options: dict[str, Any] = {
        "socket_timeout": patience_seconds,
        "socket_connect_timeout": patience_seconds,
        "health_check_interval": 15,
        **address.options,
    }
    if address.kind == "sentinel":
        return _master(address, options, patience_seconds=patience_seconds)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, retry=_once_more(), **options)
    return Redis.from_pool(ConnectionPool(retry=_once_more(), **options))


def _master(address: Address, options: dict[str, Any], *, patience_seconds: float) -> Redis:
    """Each new connection asks the sentinels. A vain round is made twice, and both together cost one patience."""
    share = patience_seconds / 2 / len(address.hosts)
    asking: dict[str, Any] = {
        "socket_timeout": share,
        "socket_connect_timeout": share,
        "retry": Retry(NoBackoff(), 0),
        **address.sentinel_options,
    }
    sentinels = Sentinel(address.hosts, sentinel_kwargs=asking)
    return sentinels.master_for(address.service, retry=_once_more(), **options)


def _once_more() -> Retry:
    """One fresh connection when the old one was dead; who waited in vain does not wait again."""
    return Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))


def understand(url: str) -> Address:
    """Asks nobody. ImproperlyConfigured names the forms and never the URL, which may hold a password."""
    try:
        address = _several(url) if "+" in url.partition(":")[0] else _one(url)
        for options in (address.options, address.sentinel_options):
            ConnectionPool(**options).make_connection()  # refuses options that do not exist
    except Exception:  # what it says could hold the password
        raise ImproperlyConfigured(
            f"REDIS_URL is none of {FORMS}. Special characters of the password are percent-encoded."
        ) from None
    return address


def _one(url: str) -> Address:
    return Address("one", _options(url), [], "", {})


def _several(url: str) -> Address:
    """Each host is read by redis-py, as a URL of its own; what stands around the hosts is the same for all."""
    kind, user, hosts, service, db, query = _match(_SEVERAL, url).group(
        "kind", "user", "hosts", "service", "db", "query"
    )
    is_sentinel = kind == "sentinel"
    read = [_options(f"redis://{user}{host}{db or ''}{query}") for host in hosts.split(",")]
    port = SENTINEL_PORT if is_sentinel else SERVER_PORT
    addresses = [(options.pop("host"), options.pop("port", port)) for options in read]
    options = read[0]
    if not is_sentinel:
        _refuse_unless(not service and not options.pop("db", 0))
        return Address(kind, options, addresses, "", {})
    _refuse_unless(service)
    theirs = {name: options.pop(f"sentinel_{name}") for name in CREDENTIALS if f"sentinel_{name}" in options}
    return Address(kind, options, addresses, unquote(service), theirs)


def _options(url: str) -> dict[str, Any]:
    _match(_ONE, url)
    return parse_url(url)


def _match(form: re.Pattern[str], text: str) -> re.Match[str]:
    match = form.fullmatch(text)
    _refuse_unless(match)
    assert match
    return match


def _refuse_unless(condition: Any) -> None:
    if not condition:
        raise ValueError
