"""Redis or PostgreSQL is gone and comes back: all three kinds of process go on by themselves, within seconds.

What stands in the code adds up to less than 2 s (tests/test_waits.py), and what a run saw is printed (`pytest -s`).
Asserted is only what no busy machine can break.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from django.db import connection
from redis import Redis
from rest_framework_simplejwt.tokens import AccessToken

from scheduler.embedded.child import Child, free_port
from tests.journeys import servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

GONE_SECONDS = 10.0
GENEROUS_SECONDS = 10.0  # five times what is promised
BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}

_numbers = itertools.count()


@pytest.fixture
def redis_url(valkey):
    return valkey.url()


@pytest.fixture
def database_url(postgres, django_db_blocker):
    url = servers.fresh_database(postgres, f"reconnection{next(_numbers)}")
    with servers.database_at(url), django_db_blocker.unblock():
        yield url


@dataclass
class Estate:
    """One of each, under way."""

    platform: object
    client: httpx.Client
    worker: Child
    scheduler: Child
    ports: dict[str, int]
    back_at: float = 0.0
    seen: dict[str, float] = field(default_factory=dict)

    def post(self, **options) -> httpx.Response:
        return self.client.post("/jobs", json=BODY | options)

    def readiness(self, who: str) -> httpx.Response:
        if who == "api":
            return self.client.get("/health/ready")
        return httpx.get(f"http://127.0.0.1:{self.ports[who]}/health/ready", trust_env=False)

    def until_ready(self, who: str, is_ready: bool = True) -> httpx.Response:
        return self.platform.until(lambda: (said := self.readiness(who)).is_success is is_ready and said)

    def wrong_with(self, who: str, part: str) -> str:
        return next(row["wrong"] or "" for row in self.readiness(who).json()["parts"] if row["part"] == part)

    def let_pass(self, seconds: float, since: float) -> None:
        self.platform.until(lambda: time.monotonic() - since >= seconds)

    def measure(self, what: str, condition: Callable[[], object]) -> None:
        """How long after the return this was so."""
        self.platform.until(condition)
        self.seen[what] = time.monotonic() - self.back_at

    def tell(self, fault: str) -> None:
        told = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in self.seen.items())
        sys.stdout.write(f"\n{fault}: back after: {told}\n")
        assert max(self.seen.values()) < GENEROUS_SECONDS
        assert self.worker.is_running
        assert self.scheduler.is_running


@pytest.fixture
def estate(platform, owner) -> Iterator[Estate]:
    ports = {"worker": free_port(), "scheduler": free_port()}
    worker = platform.start_worker("--metrics-port", str(ports["worker"]))
    scheduler = platform.start_scheduler("--metrics-port", str(ports["scheduler"]))
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    estate = Estate(platform, client, worker, scheduler, ports)
    estate.post()
    platform.until(lambda: platform.smtp.accepted)
    for who in ("api", "worker", "scheduler"):
        estate.until_ready(who)
    return estate


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────


def all_processes_of(postgres) -> list[psutil.Process]:
    postmaster = psutil.Process(postgres.pid)
    return [postmaster, *postmaster.children(recursive=True)]


class Stopped:
    seconds = GONE_SECONDS
    due_seconds = 2.0  # long enough to be gone by then, and less than it is gone

    def __init__(self, postgres) -> None:
        self.postgres = postgres

    def begin(self) -> None:
        self.postgres.stop_at_once()

    def end(self) -> None:
        self.postgres.start()


class Restarted(Stopped):
    seconds = 0.0
    due_seconds = 0.2


class Hanging(Stopped):
    def begin(self) -> None:
        self.processes = all_processes_of(self.postgres)
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", [Stopped, Restarted, Hanging])
def test_postgresql_is_back_and_so_is_everybody(estate, platform, smtp, postgres, kind):
    fault = kind(postgres)
    due_meanwhile = platform.job(estate.post(delay_seconds=fault.due_seconds).json()["id"])

    gone_at = time.monotonic()
    fault.begin()
    try:
        if fault.seconds:
            assert_all_say_that_it_is_gone(estate)
        estate.let_pass(fault.seconds, since=gone_at)
    finally:
        fault.end()
    estate.back_at = time.monotonic()
    connection.close()  # this process's own is dead
    estate.measure("API accepts", lambda: (answer := estate.post()).status_code == 202 and answer)
    accepted = estate.post().json()["id"]
    estate.measure("scheduler promotes", lambda: platform.job(due_meanwhile.id).status != "scheduled")
    estate.measure("worker sends", lambda: platform.copies(platform.job(accepted).id))

    for who in ("api", "worker", "scheduler"):
        estate.until_ready(who)
    platform.until_status("completed", due_meanwhile.id)
    estate.tell(f"PostgreSQL, {kind.__name__.lower()}")
    platform.assert_books_balance()


def assert_all_say_that_it_is_gone(estate) -> None:
    """The API in its answers, and nobody is ready."""
    refusal = estate.platform.until(lambda: (answer := estate.post()).status_code == 503 and answer)
    assert refusal.headers["Content-Type"] == "application/problem+json"
    assert refusal.json()["code"] == "unavailable"
    assert int(refusal.headers["Retry-After"]) > 0

    started = time.monotonic()
    assert [estate.post().status_code for _ in range(20)] == [503] * 20
    assert time.monotonic() - started < GENEROUS_SECONDS, (
        "a hanging server costs one wait, and not one for each request"
    )

    assert estate.until_ready("api", False).json()["database"] == "away"
    for who, part in (("worker", "heartbeat"), ("scheduler", "promoter")):
        estate.platform.until(lambda who=who, part=part: "OperationalError" in estate.wrong_with(who, part))
        assert estate.readiness(who).json()["code"] == "not_ready"


# ── Redis ─────────────────────────────────────────────────────────────────────────────────────


class Killed:
    """And started again, empty."""

    def __init__(self, valkey) -> None:
        self.valkey = valkey

    def begin(self) -> None:
        self.valkey.kill()

    def end(self) -> None:
        self.valkey.start()


class Frozen(Killed):
    def begin(self) -> None:
        psutil.Process(self.valkey.child.pid).send_signal(signal.SIGSTOP)

    def end(self) -> None:
        psutil.Process(self.valkey.child.pid).send_signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", [Killed, Frozen])
def test_redis_is_back_and_so_is_everybody(estate, platform, smtp, valkey, kind):
    fault = kind(valkey)

    gone_at = time.monotonic()
    fault.begin()
    try:
        assert_nobody_needs_it(estate)
        estate.let_pass(GONE_SECONDS, since=gone_at)
    finally:
        fault.end()
    estate.back_at = time.monotonic()
    with Redis.from_url(valkey.url()) as client:
        client.config_resetstat()
        estate.measure("worker listens", lambda: any(each["cmd"] == "blmpop" for each in client.client_list()))
        estate.measure("scheduler looks", lambda: "cmdstat_lrange" in client.info("commandstats"))
        estate.measure("API rings", lambda: estate.post() and "cmdstat_lpush" in client.info("commandstats"))

    assert estate.until_ready("api").json()["redis"] == "ok"
    platform.until_status("completed")
    estate.tell(f"Redis, {kind.__name__.lower()}")
    platform.assert_books_balance()


def assert_nobody_needs_it(estate) -> None:
    """Jobs are accepted and sent, and all are ready."""
    before = len(estate.platform.smtp.accepted)
    started = time.monotonic()
    assert [estate.post(idempotency_key=f"order-{number}").status_code for number in range(5)] == [202] * 5
    assert time.monotonic() - started < GENEROUS_SECONDS, (
        "a hanging server costs one wait, and not three for each request"
    )
    estate.platform.until(lambda: len(estate.platform.smtp.accepted) == before + 5)
    assert estate.until_ready("api").json() == {"status": "degraded", "database": "ok", "redis": "away"}
    estate.until_ready("worker")
    estate.until_ready("scheduler")


# ── Started while they are away ───────────────────────────────────────────────────────────────


def test_processes_that_are_started_before_their_servers_wait_for_them(platform, smtp, postgres, valkey):
    job_id = platform.accept()
    postgres.stop_at_once()
    valkey.kill()
    try:
        worker, scheduler = platform.start_worker(), platform.start_scheduler()
        platform.until(lambda: platform.said(worker, "heartbeat_failed") and platform.said(scheduler, "postgres_away"))
    finally:
        postgres.start()
        valkey.start()
    connection.close()

    platform.until_status("completed", job_id)

    assert worker.is_running
    assert scheduler.is_running
    platform.assert_books_balance()
