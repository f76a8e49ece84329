"""Servers of a journey's own, where it kills, stops or reconfigures them; and locks that hold a worker up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg
from django.conf import settings
from django.db import connection
from django.test import override_settings

from jobs import redis_session
from jobs.conf import tunables
from jobs.sql import STATEMENTS
from scheduler.embedded.postgres import EmbeddedPostgres
from tests.journeys.platform import ROOT

TEMPLATE = "migrated"


def current_database_url() -> str:
    """Where this process's Django is connected to: in tests, the test database."""
    of = connection.settings_dict
    return f"postgres://{of['USER']}:{quote(of['PASSWORD'], safe='')}@{of['HOST']}:{of['PORT']}/{of['NAME']}"


@contextmanager
def redis_at(url: str) -> Iterator[None]:
    """This process, too, uses that Redis."""
    with override_settings(SENDONCE=settings.SENDONCE | {"redis_url": url}):
        _forget_redis()
        try:
            yield
        finally:
            _forget_redis()
    tunables.cache_clear()


def _forget_redis() -> None:
    tunables.cache_clear()
    redis_session.server().close()
    redis_session.server.cache_clear()


@contextmanager
def database_at(url: str) -> Iterator[None]:
    """This process, too, uses that database."""
    parts = urlsplit(url)
    theirs = {
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
    ours = {name: connection.settings_dict[name] for name in theirs}
    connection.close()
    connection.settings_dict.update(theirs)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(ours)


def migrate_template(postgres: EmbeddedPostgres) -> None:
    """Make the database that `fresh_database` copies."""
    postgres.create_database(TEMPLATE)
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": postgres.url(TEMPLATE)}, check=True)


def fresh_database(postgres: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(postgres.url(), autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return postgres.url(name)


# ── Locks ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def held_up(statement: str, *parameters: Any) -> Iterator[None]:
    """Run a statement and keep its locks until the block is left; then roll it back."""
    with psycopg.connect(current_database_url()) as holder:
        holder.execute(statement, parameters)
        try:
            yield
        finally:
            holder.rollback()


def is_waiting_in(name: str, wait_event_type: str = "Lock") -> bool:
    """Whether somebody waits for a lock in this named statement."""
    opening = STATEMENTS[name].split("\n", 1)[0]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = %s AND starts_with(query, %s)",
            [wait_event_type, opening],
        )
        return bool(cursor.fetchone()[0])
