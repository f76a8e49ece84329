"""One PostgreSQL and one Valkey for the whole test session, shared by all pytest-xdist workers.

Loaded with `-p` (addopts in pyproject.toml) because pytest-django reads the settings, and they the
environment, before any conftest.py. A `DATABASE_URL` or `REDIS_URL` that is set is used instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scheduler.embedded.child import tell_guardian
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis

LOGICAL_DATABASES = 16


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    _set_secrets()
    asked = early_config.known_args_namespace
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["REDIS_URL"] = redis_url_of(os.environ["PYTEST_XDIST_WORKER"], os.environ["REDIS_URL"])
    elif not (asked.help or asked.version):
        _start_servers(early_config)
    return (yield)


def redis_url_of(worker: str, url: str) -> str:
    """The controller's logical database is its own; gw0 takes the next one, and so on."""
    parts = urlsplit(url)
    number = int(parts.path.strip("/") or 0) + 1 + int(worker.removeprefix("gw"))
    return parts._replace(path=f"/{number % LOGICAL_DATABASES}").geturl()


def _set_secrets() -> None:
    os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "0" * 40)
    os.environ.setdefault("JWT_SIGNING_KEY", "only-for-tests-" + "1" * 40)
    os.environ["DEBUG"] = "false"


def _start_servers(config: pytest.Config) -> None:
    """Their end is a cleanup of the session, after Ctrl-C too; the guardian covers a kill."""
    folder = Path(tempfile.mkdtemp(prefix="sendonce-tests-"))
    tell_guardian(f"remove {folder}")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["JOURNAL_DIR"] = str(folder / "journal")
    if "DATABASE_URL" not in os.environ:
        postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        config.add_cleanup(postgres.stop_at_once)
        postgres.start()
        postgres.create_database("sendonce")
        os.environ["DATABASE_URL"] = postgres.url("sendonce")
    if "REDIS_URL" not in os.environ:
        redis = EmbeddedRedis(folder / "valkey")
        config.add_cleanup(redis.stop)
        redis.start()
        os.environ["REDIS_URL"] = redis.url()
