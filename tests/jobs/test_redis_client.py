"""Each form of REDIS_URL on real servers: one, a cluster of two nodes, and a master whom a sentinel watches."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from jobs import queue, redis_client, redis_session, throttles
from jobs.claims import Claim, OwnKey, Waiting
from jobs.outage import Outage
from jobs.rates import Rate
from jobs.throttles import Counts, Draw, Turn
from scheduler.embedded.child import Child, free_port
from scheduler.embedded.redis import _binary
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("no_thread_stays")

PASSWORD = "p@ss/w?r#d:%"
SENTINELS_PASSWORD = "another&one"
SERVICE = "bell"
PRIORITIES = ["high", "default", "low"]


class Server:
    """A Valkey of a test's own, with these lines in its configuration."""

    def __init__(
        self,
        folder: Path,
        *lines: str,
        port: int | None = None,
        password: str = PASSWORD,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.port = port or free_port()
        self._password = password
        folder.mkdir()
        configuration = folder / "valkey.conf"
        own = (f"port {self.port}", "bind 127.0.0.1", f'dir "{folder}"', f'requirepass "{password}"')
        configuration.write_text("\n".join([*own, *lines, ""]))
        self.child = Child("Valkey", [_binary(), configuration, *arguments], log=folder / "valkey.log", cwd=None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, stack: ExitStack) -> Server:
        stack.callback(self.child.kill)
        self.child.start()
        self.child.wait_until(self._answers, within=20.0)
        return self

    def ask(self, *command: str | int, **options: Any) -> Any:
        with redis.Redis(port=self.port, password=self._password, decode_responses=True, retry=None) as client:
            return client.execute_command(*command, **options)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.child.pid, number)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class DataServer(Server):
    def __init__(self, folder: Path, *lines: str, port: int | None = None) -> None:
        super().__init__(folder, 'save ""', f'masterauth "{PASSWORD}"', "repl-diskless-sync-delay 0", *lines, port=port)


class Node(DataServer):
    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.bus_port = free_port()
        super().__init__(
            folder, "cluster-enabled yes", "cluster-node-timeout 1000", f"cluster-port {self.bus_port}", port=port
        )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def speak_to(tunables: Callable[..., Any]) -> Iterator[Callable[[str], None]]:
    """Let jobs.queue speak to that URL; it has heard of no Redis before."""
    spoken = False

    def speak_to(url: str) -> None:
        nonlocal spoken
        tunables(redis_url=url)
        _forget()
        spoken = True

    yield speak_to
    if spoken:
        _forget()


def _forget() -> None:
    redis_session.server.cache_clear()
    redis_session.outage = Outage("redis", redis_session.ask_afresh)


class Cluster:
    """Two nodes, half the slots each; the URL names a third one, that nobody has started."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        first, second = self.nodes = [Node(folder / name).start(stack) for name in ("first", "second")]
        self.third = Node(folder / "third")
        first.ask("CLUSTER ADDSLOTSRANGE", 0, 8191)
        second.ask("CLUSTER ADDSLOTSRANGE", 8192, 16383)
        first.ask("CLUSTER MEET", "127.0.0.1", second.port, second.bus_port)
        until(self.is_whole, within=30.0)

    @property
    def url(self) -> str:
        hosts = ",".join(node.host for node in (self.third, *self.nodes))
        return f"redis+cluster://:{quote(PASSWORD, safe='')}@{hosts}"

    def is_whole(self) -> bool:
        said = [(node.ask("CLUSTER INFO"), node.ask("CLUSTER SLOTS")) for node in self.nodes]
        return all(info["cluster_state"] == "ok" and len(slots) == 2 for info, slots in said)


@pytest.fixture
def cluster(tmp_path: Path, stack: ExitStack, speak_to: Callable[[str], None]) -> Cluster:
    cluster = Cluster(tmp_path, stack)
    speak_to(cluster.url)
    return cluster


class Watched:
    """A master, its replica, and a sentinel that takes half a second of silence for death."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.master = DataServer(folder / "first").start(stack)
        self.replica = DataServer(folder / "second", f"replicaof 127.0.0.1 {self.master.port}").start(stack)
        until(lambda: self.replica.ask("ROLE")[3] == "connected", within=30.0)
        self.sentinel = Server(
            folder / "sentinel",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1",
            f'sentinel auth-pass {SERVICE} "{PASSWORD}"',
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
            password=SENTINELS_PASSWORD,
            arguments=("--sentinel",),
        ).start(stack)
        until(self._knows_the_replica, within=30.0)

    @property
    def url(self) -> str:
        nobody = free_port()
        return (
            f"redis+sentinel://:{quote(PASSWORD, safe='')}@127.0.0.1:{nobody},{self.sentinel.host}/{SERVICE}/3"
            f"?sentinel_password={quote(SENTINELS_PASSWORD)}"
        )

    def master_port(self) -> int:
        return int(self.sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def _knows_the_replica(self) -> bool:
        replicas = self.sentinel.ask("SENTINEL SLAVES", SERVICE)
        return any(replica["master-link-status"] == "ok" for replica in replicas)


@pytest.fixture
def watched(tmp_path: Path, stack: ExitStack, speak_to: Callable[[str], None]) -> Watched:
    watched = Watched(tmp_path, stack)
    speak_to(watched.url)
    return watched


def claim(token: int) -> Claim:
    return Claim(
        job_id=uuid4(),
        token=token,
        dedupe_hash=uuid4().bytes,
        type="email",
        payload={},
        attempt=1,
        max_attempts=5,
        priority="default",
        provider=None,
        correlation_id="c-1",
        claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


def assert_all_moves_work() -> None:
    jobs = [Waiting(uuid4(), priority) for priority in PRIORITIES]
    claims = [claim(token) for token in range(20)]
    key_of = uuid4()

    queue.ping()
    assert queue.push(jobs)
    assert queue.depths() == dict.fromkeys(PRIORITIES, 1)
    assert queue.head("low", limit=9) == [jobs[2].job_id]
    assert [queue.take(PRIORITIES, limit=9, timeout_seconds=0.05) for _ in range(4)] == [*([job] for job in jobs), []]

    assert queue.ask_gate(claims) == set()
    queue.remember_sent([claim.dedupe_hash for claim in claims[:10]])
    assert queue.ask_gate(claims) == set(range(10))

    assert queue.announce([], keys={OwnKey(1, "k"): key_of})
    assert queue.recall_keys([OwnKey(2, "k"), OwnKey(1, "k"), OwnKey(1, "j")]) == {OwnKey(1, "k"): key_of}

    names = [f"email:{uuid4()}" for _ in range(20)]
    assert all(circuit.has_just_opened for circuit in throttles.report(dict.fromkeys(names, Counts(bad=3))).values())
    assert all(throttles.may_try(name).open_seconds for name in names)
    draws = [Draw(f"domain:{name}", Rate(1, 3600)) for name in names]
    assert [bool(turn.lacks) for turn in throttles.take([draws, draws])] == [False, True]


def assert_it_is_away() -> None:
    """Whoever can do without goes on; whoever wants Redis itself is told."""
    assert not queue.push([Waiting(uuid4(), "default")])
    assert queue.ask_gate([claim(1)]) == set()
    queue.remember_sent([bytes(16)])
    assert not queue.announce([], keys={OwnKey(1, "k"): uuid4()})
    assert queue.recall_keys([OwnKey(1, "k")]) == {}
    assert throttles.report({"email:main": Counts(bad=3)}) == {}
    assert throttles.take([[Draw("provider:main", Rate(1, 3600))]]) == [Turn()]
    for call in (queue.ping, queue.depths, lambda: queue.take(PRIORITIES, limit=1, timeout_seconds=0.1)):
        with pytest.raises(queue.Away):
            call()


# ── One server ────────────────────────────────────────────────────────────────────────────────


def test_all_moves_over_tcp_and_over_a_socket(tmp_path, stack, speak_to):
    server = DataServer(tmp_path / "one", f'unixsocket "{tmp_path}/s"').start(stack)
    password = quote(PASSWORD, safe="")

    for url in (f"redis://:{password}@{server.host}/2", f"unix://:{password}@{tmp_path}/s?db=5"):
        speak_to(url)
        assert_all_moves_work()

    assert set(server.ask("INFO", "keyspace")) == {"db2", "db5"}


# ── Cluster ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_all_moves_over_a_cluster_and_its_keys_are_spread(cluster):
    assert_all_moves_work()

    assert all(node.ask("DBSIZE") > 0 for node in cluster.nodes)


@pytest.mark.slow
def test_a_cluster_that_refuses_is_away_until_it_is_back(cluster, stack):
    queue.ping()
    for node in cluster.nodes:
        node.child.kill()

    assert_it_is_away()

    for node in cluster.nodes:
        node.start(stack)
    until(cluster.is_whole, within=30.0)
    queue.ping()
    assert_all_moves_work()


@pytest.mark.slow
def test_a_cluster_that_has_moved_to_another_node_of_the_url_is_found(cluster, stack):
    queue.ping()
    for node in cluster.nodes:
        node.child.kill()
    assert_it_is_away()

    cluster.third.start(stack).ask("CLUSTER ADDSLOTSRANGE", 0, 16383)

    until(lambda: cluster.third.ask("CLUSTER INFO")["cluster_state"] == "ok")
    queue.ping()
    assert_all_moves_work()


@pytest.mark.slow
def test_a_cluster_that_was_never_there_is_away(speak_to):
    speak_to(f"redis+cluster://127.0.0.1:{free_port()}")

    assert_it_is_away()


@pytest.mark.slow
@pytest.mark.parametrize("hanging", [1, 2])
def test_a_hanging_cluster_is_waited_for_once_and_then_left_alone(cluster, hanging):
    """Not once for each of the keys that lie there: each node is given its patience, and then one more of them."""
    assert_all_moves_work()
    for node in cluster.nodes[:hanging]:
        node.signal(signal.SIGSTOP)
    started = time.monotonic()

    assert queue.ask_gate([claim(token) for token in range(40)]) == set()

    waited = time.monotonic() - started
    assert waited < redis_session.PATIENCE_SECONDS * (hanging + 1) + 1
    assert redis_session.outage.is_on
    for node in cluster.nodes[:hanging]:
        node.signal(signal.SIGCONT)
    until(lambda: not redis_session.outage.is_on)
    until(cluster.is_whole, within=30.0)
    assert_all_moves_work()


# ── Sentinel ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_all_moves_over_sentinels_of_whom_one_is_dead(watched):
    assert_all_moves_work()

    assert set(watched.master.ask("INFO", "keyspace")) == {"db3"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "demoted"])
def test_after_a_failover_the_new_master_is_found(watched, how):
    assert_all_moves_work()
    if how == "killed":
        watched.master.child.kill()
    else:
        watched.sentinel.ask("SENTINEL FAILOVER", SERVICE)

    until(lambda: watched.master_port() == watched.replica.port, within=60.0)
    until(lambda: queue.push([Waiting(uuid4(), "default")]), within=30.0)

    assert queue.take(PRIORITIES, limit=9, timeout_seconds=0.5)
    assert_all_moves_work()


@pytest.mark.slow
def test_without_a_sentinel_it_is_away(watched):
    watched.sentinel.child.kill()

    assert_it_is_away()


@pytest.mark.slow
def test_hanging_sentinels_are_waited_for_once_and_then_left_alone(watched):
    watched.sentinel.signal(signal.SIGSTOP)
    started = time.monotonic()

    assert not queue.push([Waiting(uuid4(), "default")])

    assert time.monotonic() - started < redis_session.PATIENCE_SECONDS + 1
    assert redis_session.outage.is_on
    watched.sentinel.signal(signal.SIGCONT)
    until(lambda: queue.push([Waiting(uuid4(), "default")]))


# ── What is no REDIS_URL ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis://h", [], {"host": "h"}),
        ("redis://:s%40@[::1]:7000/3?protocol=2", [], {"host": "::1", "port": 7000, "db": 3}),
        ("rediss://u:s@h:7000/0?ssl_ca_certs=/ca.pem", [], {"username": "u", "ssl_ca_certs": "/ca.pem"}),
        ("unix:///run/s?db=2", [], {"path": "/run/s", "db": 2}),
        ("redis+sentinel://u:s%2F@h,[::1]:7000/bell/2", [("h", 26379), ("::1", 7000)], {"password": "s/", "db": 2}),
        ("redis+sentinel://h:7000/bell", [("h", 7000)], {}),
        ("redis+cluster://u:s@h,k:7000/", [("h", 6379), ("k", 7000)], {"username": "u", "password": "s"}),
    ],
)
def test_each_form_is_understood(url, hosts, options):
    address = redis_client.understand(url)

    assert address.hosts == hosts
    assert address.options | options == address.options


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        "http://:secret@h/0",
        "sentinel://:secret@h:1/bell",
        "redis+other://:secret@h:1",
        "rediss+cluster://:secret@h:1",
        "redis://:sec/ret@h:1/0",
        "redis://:1#secret@h:1/0",
        "redis://:secret@h:port/0",
        "redis://:secret@h:99999/0",
        "redis://:secret@h,k/0",
        "redis://:secret@h:1/bell",
        "redis://:secret@h:1/0?nonsense=1",
        "redis://:secret@h:1/0?socket_timeout=x",
        "unix://",
        "unix://run/s",
        "redis+sentinel://:secret@h:1",
        "redis+sentinel://:secret@h:1/",
        "redis+sentinel://:secret@h:1/bell/x",
        "redis+sentinel://:secret@h:1,/bell",
        "redis+sentinel://:secret@/bell",
        "redis+sentinel://:secret@h:1/bell?sentinel_nonsense=1",
        "redis+sentinel://:secret@h:1/bell?sentinel_socket_timeout=1",
        "redis+cluster://",
        "redis+cluster://:secret@h:1,,k:2",
        "redis+cluster://:secret@h:1/bell",
        "redis+cluster://:secret@h:1?db=2",
        "redis+cluster://:secret@h:1?sentinel_password=secret",
    ],
)
def test_anything_else_is_refused_without_showing_it(url):
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL is none of redis://") as refusal:
        redis_client.connect(url, patience_seconds=1.0)

    shown = "".join(traceback.format_exception(refusal.value, limit=0))
    assert "redis+cluster://" in shown
    assert "sec" not in shown
