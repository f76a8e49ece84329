"""One platform per journey: the shared PostgreSQL and Valkey unless a module asks for its own, and its own SMTP server.

A module that kills or stops a server overrides `redis_url` or `database_url` with one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.contrib.auth.models import User
from redis import Redis

from jobs.conf import tunables
from scheduler.embedded.faulty_smtp import FaultySmtp
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis
from tests.journeys import servers
from tests.journeys.platform import Platform


@pytest.fixture
def smtp() -> Iterator[FaultySmtp]:
    server = FaultySmtp()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database_url(transactional_db: None) -> str:
    return servers.current_database_url()


@pytest.fixture
def redis_url() -> str:
    url = tunables().redis_url
    with Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def owner(database_url: str) -> User:
    return User.objects.create(username="ann")


@pytest.fixture
def platform(tmp_path: Path, database_url: str, redis_url: str, smtp: FaultySmtp, owner: User) -> Iterator[Platform]:
    # A short name: the sockets that processes make in it may have paths of 107 characters.
    with TemporaryDirectory(prefix="sendonce-") as temporary:
        platform = Platform(
            tmp_path,
            database_url=database_url,
            redis_url=redis_url,
            smtp=smtp,
            owner=owner,
            temporary=Path(temporary),
        )
        yield platform
        platform.kill_all()


# ── Servers of a journey's own ────────────────────────────────────────────────────────────────


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """One that may be killed, emptied and stopped."""
    server = EmbeddedRedis(tmp_path / "valkey")
    server.start()
    with servers.redis_at(server.url()):
        yield server
    server.kill()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One that may be restarted and reconfigured."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    servers.migrate_template(server)
    yield server
    server.stop_at_once()
