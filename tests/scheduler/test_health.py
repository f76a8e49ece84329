import socket
import time

import pytest
import redis
from django.db import connections
from django.test import Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs import redis_session
from jobs.outage import Outage
from scheduler import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _threads_of_its_own():
    health._thread_for.cache_clear()
    yield
    for server in ("database", "redis"):
        health._thread_for(server).shutdown()
    health._thread_for.cache_clear()


@pytest.fixture
def silent_port():
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def move_postgresql(monkeypatch, port):
    monkeypatch.setitem(connections.settings["default"], "HOST", "127.0.0.1")
    monkeypatch.setitem(connections.settings["default"], "PORT", str(port))


def move_redis(monkeypatch, port):
    away = redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(redis_session, "server", lambda: away)
    monkeypatch.setattr(redis_session, "outage", Outage("redis", away.ping))  # of this Redis alone


def ask(path="/health"):
    started = time.monotonic()
    answer = Client().get(path)
    return answer, time.monotonic() - started


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_with_both_servers_all_is_well(path):
    answer, _ = ask(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_without_redis_the_process_is_degraded_but_ready(monkeypatch, closed_port, path):
    move_redis(monkeypatch, closed_port)

    answer, _ = ask(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "database": "ok", "redis": "away"})


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_without_postgresql_the_process_is_not_ready(monkeypatch, closed_port, path):
    move_postgresql(monkeypatch, closed_port)

    answer, _ = ask(path)

    assert (answer.status_code, answer.json()) == (503, {"status": "down", "database": "away", "redis": "ok"})


@pytest.mark.parametrize(
    "options",
    ["-c default_transaction_read_only=on", "-c search_path=pg_catalog"],
    ids=["demoted", "not migrated"],
)
def test_a_postgresql_that_answers_and_takes_no_job_is_as_good_as_away(monkeypatch, options):
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "options", options)

    answer, _ = ask("/health/ready")

    assert (answer.status_code, answer.json()["database"]) == (503, "away")


@pytest.mark.slow
def test_servers_that_never_answer_hold_nobody_up(monkeypatch, silent_port):
    move_postgresql(monkeypatch, silent_port)
    move_redis(monkeypatch, silent_port)

    answer, seconds = ask()

    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    assert seconds < 2 * health.PATIENCE_SECONDS + 1


def test_the_process_lives_whatever_becomes_of_its_servers(monkeypatch, closed_port):
    move_postgresql(monkeypatch, closed_port)
    move_redis(monkeypatch, closed_port)

    answer, _ = ask("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_postgresql_that_comes_back_is_seen_at_once(monkeypatch, closed_port):
    with monkeypatch.context() as gone:
        move_postgresql(gone, closed_port)
        assert ask()[0].status_code == 503

    assert ask()[0].status_code == 200


def test_a_token_that_is_none_does_not_shut_the_probes():
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert Client().get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200


def test_metrics_are_prometheus_text():
    Client().get("/health/live")

    answer = Client().get("/metrics", headers={"Accept": "application/openmetrics-text"})

    assert answer["Content-Type"].startswith("text/plain")
    assert b"django_http_requests_total_by_method_total" in answer.content


def test_metrics_of_many_processes_are_added_up(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert Client().get("/metrics").status_code == 200
