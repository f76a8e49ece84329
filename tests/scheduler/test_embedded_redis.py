"""The embedded Valkey may lose everything, and does so on demand."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from scheduler.embedded.guardian import is_running
from scheduler.embedded.redis import EmbeddedRedis


@pytest.fixture
def valkey(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def test_flushed_it_has_forgotten(valkey):
    with Redis.from_url(valkey.url()) as client:
        client.set("key", "value")

        valkey.flush()

        assert client.get("key") is None


def test_killed_and_started_it_answers_at_the_same_url_and_is_empty(valkey):
    with Redis.from_url(valkey.url()) as client:
        client.set("key", "value")
    url = valkey.url()

    valkey.kill()
    valkey.start()

    assert valkey.url() == url
    with Redis.from_url(url) as client:
        assert client.get("key") is None


def test_nobody_enters_without_the_password(valkey):
    with Redis(port=valkey.port) as client, pytest.raises(AuthenticationError):
        client.ping()


def test_stop_leaves_no_process(valkey):
    pid = valkey.child.pid

    valkey.stop()

    assert not is_running(pid)
