"""A whole Sendonce of real processes on servers of its own: PostgreSQL, Valkey, APIs, workers, schedulers.

It starts, kills, pauses and restarts them, each by role and number. What they are to do, and whether they did it, is
for others. Nothing here imports the code that runs in them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path

from scheduler.embedded.child import CannotStart, Child, free_port, is_port_open, wait_for
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "sendonce"
SERVER = ("-m", "scheduler.server", "--bind")
BOOT_SECONDS = 120.0  # a process on a machine that is busy with others
DRAIN_SECONDS = 30.0


class Role(StrEnum):
    """What a process does."""

    API = "api"
    WORKER = "worker"
    SCHEDULER = "scheduler"


class Process:
    """One process of one role. A restart gives it another pid; role, number, port and log stay."""

    def __init__(self, role: Role, number: int, child: Child) -> None:
        self.role = role
        self.number = number
        self.started_at = 0.0  # time.monotonic() of the last start
        self.child = child
        self._is_wanted = False
        self._lock = threading.RLock()  # whoever kills it and whoever looks after it may come at once

    def __str__(self) -> str:
        return f"{self.role} {self.number}"

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def log(self) -> Path:
        return self.child.log

    @property
    def is_running(self) -> bool:
        return self.child.is_running

    @property
    def has_fallen(self) -> bool:
        """It was to run and does not, though nobody here has ended it."""
        return self._is_wanted and not self.child.is_running

    def start(self) -> None:
        with self._lock:
            self.started_at = time.monotonic()
            self.child.start()
            self._is_wanted = True

    def kill(self) -> None:
        """SIGKILL, to it and to its own children; gone when this returns."""
        with self._lock:
            self._is_wanted = False
            self.child.kill()

    def revive(self) -> None:
        """Start it again if it has fallen, as whatever looks after processes in production would."""
        with self._lock:
            if self.has_fallen:
                self.kill()  # what it left in its group, which may still hold its port
                self.start()

    def pause(self) -> None:
        """SIGSTOP: for everybody else it looks dead."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def ask_to_stop(self) -> None:
        """SIGTERM: it drains."""
        with self._lock:
            self._is_wanted = False
            self.child.ask_to_stop()

    def restart(self, *, within: float = DRAIN_SECONDS) -> None:
        """SIGTERM, and after so many seconds SIGKILL; then a new start. One signal: at a second one a worker no longer
        drains but hands back at once, and mails whose dot was on its way become unknowns."""
        with self._lock:
            self._is_wanted = False
        self.child.stop(within=within)
        self.start()


class Platform:
    """`start()`, then do with it as you like, then `stop()`, which leaves no process.

    `folder` holds the servers' data, the logs and the processes' temporary files; it is not removed here. `env` is
    laid over the environment of all processes (EMAIL_PROVIDERS has to be in it); `worker_arguments` are those of
    run_worker. `watch` is called again and again while something is awaited, and may raise to leave.
    """

    def __init__(
        self,
        folder: Path,
        *,
        env: Mapping[str, str],
        apis: int = 1,
        workers: int = 3,
        schedulers: int = 2,
        worker_arguments: tuple[str, ...] = (),
        watch: Callable[[], None] | None = None,
    ) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        self.redis = EmbeddedRedis(folder / "valkey")
        self.env: dict[str, str] = {
            **os.environ,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "JWT_SIGNING_KEY": secrets.token_urlsafe(50),
            "DEBUG": "false",  # as in production, whatever the command itself was started with
            "PYTHONUNBUFFERED": "1",
            "LOG_FORMAT": "json",
            "TMPDIR": str(folder / "tmp"),
            "JOURNAL_DIR": str(folder / "journal"),
            **env,
        }
        self._watch = watch
        self._ports = [free_port() for _ in range(apis)]
        self.processes = [
            *(self._process(Role.API, n, *SERVER, f"127.0.0.1:{port}") for n, port in enumerate(self._ports, 1)),
            *(self._process(Role.WORKER, n, "manage.py", "run_worker", *worker_arguments) for n in _to(workers)),
            *(self._process(Role.SCHEDULER, n, "manage.py", "run_scheduler") for n in _to(schedulers)),
        ]

    @property
    def database_url(self) -> str:
        return self.postgres.url(DATABASE)

    @property
    def api_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def of(self, role: Role) -> list[Process]:
        return [process for process in self.processes if process.role is role]

    def process(self, role: Role, number: int) -> Process:
        """By its number, from 1."""
        return self.of(role)[number - 1]

    # ── Start ─────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Everything, in order; CannotStart says what does not come up."""
        self.start_servers()
        self.migrate()
        self.start_processes()

    def start_servers(self) -> None:
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        self.postgres.create_database(DATABASE)
        self.redis.start()
        self.env.update(DATABASE_URL=self.database_url, REDIS_URL=self.redis.url())

    def migrate(self) -> None:
        self.manage("migrate", "--verbosity", "0")

    def start_processes(self) -> None:
        """Returns when every API listens; workers and schedulers come up by themselves."""
        for process in self.processes:
            process.start()
        for process, port in zip(self.of(Role.API), self._ports, strict=True):
            process.child.wait_until(partial(is_port_open, port), within=BOOT_SECONDS, watch=self._watch)

    def manage(self, *arguments: str, within: float = BOOT_SECONDS) -> str:
        """Run `manage.py …` to its end and return what it said; CannotStart when it fails or takes longer."""
        code, said = self.ask_manage(*arguments, within=within)
        if code:
            raise CannotStart(f"manage.py {arguments[0]} failed with exit status {code}.\n{said}")
        return said

    def ask_manage(self, *arguments: str, within: float = BOOT_SECONDS) -> tuple[int, str]:
        """The same, but a failure is an answer too: the exit status and what it said."""
        log = self.folder / "logs" / f"{arguments[0]}.out"
        log.unlink(missing_ok=True)
        command = [sys.executable, "manage.py", *arguments]
        child = Child(f"manage.py {arguments[0]}", command, log=log, env=self.env, cwd=ROOT, rank=2)
        child.start()
        try:
            ended = wait_for(lambda: not child.is_running, within=within, watch=self._watch)
            code = child.returncode
        finally:
            child.kill()
        if not ended or code is None:
            raise CannotStart(f"manage.py {arguments[0]} took longer than {within:.0f} s.\n{child.last_lines()}")
        return code, log.read_text()

    # ── While it runs ─────────────────────────────────────────────────────────────────────────

    def fallen(self) -> list[Process]:
        """Processes that ended by themselves, which none should."""
        return [process for process in self.processes if process.has_fallen]

    # ── Stop ──────────────────────────────────────────────────────────────────────────────────

    def drain(self) -> None:
        """The processes finish what they do and end; the servers stay."""
        for process in self.processes:
            process.ask_to_stop()
        wait_for(lambda: not any(p.is_running for p in self.processes), within=DRAIN_SECONDS, watch=self._watch)

    def stop(self) -> None:
        """Everything, at once: what it knew is to be read before. Also after a start that failed half-way."""
        for process in self.processes:
            process.kill()
        self.redis.kill()
        self.postgres.stop_at_once()

    def _process(self, role: Role, number: int, *command: str) -> Process:
        log = self.folder / "logs" / f"{role}-{number}.log"
        child = Child(f"{role} {number}", [sys.executable, *command], log=log, env=self.env, cwd=ROOT, rank=2)
        return Process(role, number, child)


def _to(count: int) -> range:
    return range(1, count + 1)
