"""The servers that all contenders share: one durable PostgreSQL, one Valkey, and a sink for each round.

Commits are synchronous and reach the disk (PostgreSQL's defaults: fsync and synchronous_commit on). Each round gets a
database of its own and an empty Valkey, so that nobody works among another's rows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from scheduler.embedded.child import Child, free_port, is_port_free
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis

ROOT = Path(__file__).resolve().parents[1]
PEERS_PYTHON = ROOT / ".local" / "peers" / "bin" / "python"
BOOT_SECONDS = 60.0
MIGRATED = "migrated"
CONCURRENCY = 256  # our default: more connections than this would have no jobs to carry
NO_SERVER = 9  # the port of "discard" (RFC 863): where no mail is sent, nobody has to listen


class Ground:
    """`with Ground(folder) as ground:` leaves no process. `folder` is removed by who made it."""

    def __init__(self, folder: Path, *, watch: Callable[[], None]) -> None:
        self.folder = folder
        self.watch = watch
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.redis = EmbeddedRedis(folder / "valkey")
        self._secrets = {name: secrets.token_urlsafe(50) for name in ("SECRET_KEY", "JWT_SIGNING_KEY")}
        self._numbers = count(1)

    def __enter__(self) -> Ground:
        self.postgres.start()
        self.redis.start()
        self.create(MIGRATED)
        self.manage("migrate", "--verbosity", "0", database=MIGRATED)
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.kill()
        self.postgres.stop_at_once()

    # ── Databases ─────────────────────────────────────────────────────────────────────────────

    def create(self, name: str, *, template: str = "template1") -> None:
        with self._server() as connection:
            names = sql.Identifier(name), sql.Identifier(template)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))

    def drop(self, name: str) -> None:
        with self._server() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def fresh_database(self, *, migrated: bool, template: str | None = None, name: str | None = None) -> Iterator[str]:
        """Its name. With our tables in it, or empty; or like another one."""
        name = name or f"round_{next(self._numbers)}"
        self.create(name, template=template or (MIGRATED if migrated else "template1"))
        self.settle()
        try:
            yield name
        finally:
            self.drop(name)

    def settle(self) -> None:
        """Nobody pays for what the round before has left."""
        self.redis.flush()
        with self._server() as connection:
            connection.execute("CHECKPOINT")

    def _server(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.postgres.url(), autocommit=True)

    # ── Processes ─────────────────────────────────────────────────────────────────────────────

    def fresh_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder

    @contextmanager
    def sink(self, *options: str) -> Iterator[tuple[int, Path]]:
        """A server for mails: its port, and the folder of its book."""
        port, folder = free_port(), self.fresh_folder("sink")
        python = str(PEERS_PYTHON) if PEERS_PYTHON.exists() else sys.executable
        command = [python, "-m", "benchmarks.sink", "--port", str(port), "--folder", str(folder), *options]
        with self.running("sink", command, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)}) as child:
            child.wait_until(lambda: not is_port_free(port), within=BOOT_SECONDS, watch=self.watch)
            yield port, folder
        shutil.rmtree(folder)

    @contextmanager
    def running(self, name: str, command: list[str], *, env: Mapping[str, str]) -> Iterator[Child]:
        child = self._child(name, command, env)
        child.start()
        try:
            yield child
        finally:
            child.stop()

    def finish(self, name: str, command: list[str], *, env: Mapping[str, str], within: float = 600.0) -> None:
        """Run it to its end; CannotStart when it fails."""
        child = self._child(name, command, env)
        child.start()
        child.finish(within=within, watch=self.watch)

    def manage(self, *arguments: str, database: str, more: Mapping[str, str] | None = None) -> None:
        self.finish(
            f"manage.py {arguments[0]}",
            [sys.executable, "manage.py", *arguments],
            env=self.our_env(database, smtp_port=NO_SERVER) | dict(more or {}),
        )

    def our_env(self, database: str, *, smtp_port: int, connections: int | None = None) -> dict[str, str]:
        """Sendonce as it comes: nothing but addresses, secrets, and a log without a line for each mail.

        More connections than a worker has deliveries at once get as many of those.
        """
        return {
            **os.environ,
            **self._secrets,
            "DJANGO_SETTINGS_MODULE": "scheduler.settings",
            "DATABASE_URL": self.postgres.url(database),
            "REDIS_URL": self.redis.url(),
            "EMAIL_PROVIDERS": f"sink=smtp://127.0.0.1:{smtp_port}"
            + (f"?connections={connections}" if connections else ""),
            "DEFAULT_FROM_EMAIL": "Shop <shop@example.org>",
            "JOURNAL_DIR": str(self.folder / "journal"),
            "DEBUG": "false",
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "json",
        } | ({"WORKER_CONCURRENCY": str(connections)} if connections and connections > CONCURRENCY else {})

    def _child(self, name: str, command: list[str], env: Mapping[str, str]) -> Child:
        log = self.folder / "logs" / f"{name.replace(' ', '-').replace('/', '-')}.log"
        return Child(name, command, log=log, env=env, cwd=ROOT, rank=1)
