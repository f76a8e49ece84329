"""All processes of a local Sendonce: started in order, watched, and stopped in the reverse order.

It supervises only. Whatever needs the database runs in a child, with the environment made here.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scheduler.embedded.child import CannotStart, Child, free_port, hold_until_all_ended, is_port_free, wait_for
from scheduler.embedded.inbox_folder import Inbox
from scheduler.embedded.local_ground import (
    Asked,
    check_ports,
    check_space,
    kept_secret,
    remove_env,
    take_folder,
    write_env,
)
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DATA = ROOT / ".local"
DEFAULT_WORKERS = 1
DRAIN_SECONDS = 25.0  # the worker's own 20 and a little
SAME_SIGNAL_SECONDS = 0.5  # make passes SIGTERM on to us, who had it already: that is no second one
DEMO_PASSWORD = "demo_password"
DEMO_APP = "scheduler.embedded.demo"
ACCIDENT_SECONDS = 10.0  # what ends by itself sooner after its start would end again
# The words of PostgreSQL, the field of our own lines, the end of a traceback, the mark of Valkey.
LOUD = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b|\"level\": ?\"(warning|error|critical)\"|Error: | # ")
SHOWN_LINES = 5
SHOWN_COLUMNS = 240
SECRETS = {"SECRET_KEY": "secret_key", "JWT_SIGNING_KEY": "jwt_signing_key"}


class StopAsked(Exception):
    """Ctrl-C, SIGTERM, or the end of our parent."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    port: int
    smtp_port: int
    data: Path
    workers: int
    metrics_port: int
    stop_with_parent: bool = False


class LocalStack:
    """`start()`, then `watch_over()` until it raises, then `stop()`, which leaves no process."""

    def __init__(
        self, options: Options, step: Callable[[str], AbstractContextManager[None]], say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.data = options.data.resolve()
        self.env = dict(os.environ)
        self.inbox: Inbox | None = None
        self._step = step
        self._say = say
        self._holds_folder = False
        self._parent = os.getppid()
        self._signals: list[float] = []
        self._stops: list[tuple[str, Callable[[], None]]] = []
        self._watched: list[Child] = []
        self._apps: list[Child] = []
        self._restartable: dict[Child, float] = {}  # when each was last started

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def demo_password(self) -> str:
        return kept_secret(self.data, DEMO_PASSWORD, 12)

    def listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def start(self, is_api_ready: Callable[[], bool]) -> None:
        """Everything up, in order; CannotStart or StopAsked leave it to the caller to `stop()`."""
        asked = Asked(ports=self._wanted_ports(), others=self._wanted_besides())
        hold_until_all_ended(take_folder(self.data, asked))
        self._holds_folder = True
        remove_env(self.data)  # of a run that was killed
        check_space(self.data)
        check_ports(asked)
        self._set_environment()
        self._start_postgres()
        self._start_redis()
        self._start_inbox()
        self._start_demo()
        with self._step("Migrations and demo user"):
            self._prepare()
        with self._step(f"API, {self.options.workers} worker process(es), scheduler"):
            self._start_apps()
            if not wait_for(is_api_ready, within=60.0, watch=self.watch):
                raise CannotStart(f"The API was not ready within 60 s.\n{last_words(self._apps[0])}")
            self.watch()  # an answer may come from somebody else's API, with ours dead
        write_env(self.data, self.env)

    def watch(self) -> None:
        """Raise StopAsked when we are to end, CannotStart when a child has that cannot be started again."""
        if self._signals:
            raise StopAsked
        if self.options.stop_with_parent and os.getppid() != self._parent:
            raise StopAsked
        for child in self._watched:
            if not child.is_running:
                self._mourn(child)

    def _mourn(self, child: Child) -> None:
        """A worker or scheduler that was killed, or ran for a while, is started again; no other part can be missed."""
        how = ending(child)
        started = self._restartable.get(child)
        was_killed = child.returncode == -signal.SIGKILL
        if started is None or (time.monotonic() - started < ACCIDENT_SECONDS and not was_killed):
            raise CannotStart(f"{child.name} ended ({how}). Log: {child.log}\n{last_words(child)}")
        child.kill()  # what it left in its group, which may still hold its port
        child.start()
        self._restartable[child] = time.monotonic()
        self._say(f"{child.name} died ({how}); started again")

    def watch_over(self) -> None:
        while True:
            self.watch()
            time.sleep(0.2)

    def stop(self) -> None:
        """The apps drain together, then inbox, Valkey, PostgreSQL; a second signal kills at once."""
        self._signals = self._signals or [time.monotonic()]
        if self._holds_folder:
            remove_env(self.data)
        if self._apps:
            with self._step("Stopped API, workers, scheduler (drained)"):
                self._drain()
        for name, stop in reversed(self._stops):
            with self._step(f"Stopped {name}"):
                stop()

    def _drain(self) -> None:
        for child in self._apps:
            child.ask_to_stop()
        wait_for(lambda: self._is_hurried() or not any(c.is_running for c in self._apps), within=DRAIN_SECONDS)
        for child in self._apps:
            child.kill()

    # ── steps of start ───────────────────────────────────────────────────────────────────────

    def _wanted_ports(self) -> dict[str, int]:
        wanted = {"PORT": self.options.port, "SMTP_PORT": self.options.smtp_port}
        if self._is_given("EMAIL_PROVIDERS"):
            del wanted["SMTP_PORT"]
        return wanted | {"METRICS_PORT": self.options.metrics_port}

    def _wanted_besides(self) -> dict[str, str]:
        """make's other variables, where they are not the defaults."""
        wanted = {"DATA": str(self.options.data), "WORKERS": str(self.options.workers)}
        usual = {"DATA": self.data == DEFAULT_DATA, "WORKERS": self.options.workers == DEFAULT_WORKERS}
        return {name: word for name, word in wanted.items() if not usual[name]}

    def _is_given(self, name: str) -> bool:
        """Whether the person brought a server of their own."""
        return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))

    def _set_environment(self) -> None:
        self.env |= {"DEBUG": "true", "PYTHONUNBUFFERED": "1"}
        self.env.setdefault("SIGNUP_OPEN", "true")
        self.env.setdefault("PUBLIC_URL", f"http://127.0.0.1:{self.options.port}")
        self.env.setdefault("ACCESS_TOKEN_MINUTES", "720")  # so that the printed curl lines live for a day's work
        for name, file in SECRETS.items():
            if not self._is_given(name):
                self.env[name] = kept_secret(self.data, file)

    def _start_postgres(self) -> None:
        if self._is_given("DATABASE_URL"):
            return
        postgres = EmbeddedPostgres(self.data / "postgres")
        with self._step("PostgreSQL"):
            postgres.start()
            self._stops.append(("PostgreSQL", lambda: self._stop_postgres(postgres)))
            postgres.create_database("sendonce")
        self._watched.append(postgres.child)
        self.env["DATABASE_URL"] = postgres.url("sendonce")

    def _stop_postgres(self, postgres: EmbeddedPostgres) -> None:
        if self._is_hurried():
            postgres.stop_at_once()
        else:
            postgres.stop()

    def _start_redis(self) -> None:
        if self._is_given("REDIS_URL"):
            return
        redis = EmbeddedRedis(self.data / "valkey")
        with self._step("Valkey"):
            redis.start()
            self._stops.append(("Valkey", redis.stop))
        self._watched.append(redis.child)
        self.env["REDIS_URL"] = redis.url()

    def _start_inbox(self) -> None:
        if self._is_given("EMAIL_PROVIDERS"):
            return
        port = self.options.smtp_port
        self.inbox = Inbox(self.data / "inbox")
        command = ["-m", "scheduler.embedded.inbox", "--port", str(port), "--folder", str(self.inbox.folder)]
        child = self._python("inbox", *command, rank=1)
        with self._step("Inbox"):
            child.start()
            self._watched.append(child)
            self._stops.append(("inbox", lambda: child.stop(within=5.0, hurry=self._is_hurried)))
            child.wait_until(lambda: not is_port_free(port), within=20.0, watch=self.watch)
        self.env |= {"EMAIL_PROVIDERS": f"local=smtp://127.0.0.1:{port}", "INBOX_DIR": str(self.inbox.folder)}
        self.env["EVIDENCE_SOURCES"] = f"local=inbox+smtp://127.0.0.1:{port}"

    def _start_demo(self) -> None:
        """Types of job to play with, and the two services that some of them ask."""
        ports = [free_port(), free_port()]
        child = self._python("demo", "-m", "scheduler.embedded.demo.services", "--ports", *map(str, ports), rank=1)
        with self._step("Services of the demo"):
            child.start()
            self._watched.append(child)
            self._stops.append(("services of the demo", lambda: child.stop(within=5.0, hurry=self._is_hurried)))
            child.wait_until(lambda: not any(map(is_port_free, ports)), within=20.0, watch=self.watch)
        self.env["DEMO_SERVICES"] = ",".join(f"http://127.0.0.1:{port}" for port in ports)
        self.env["JOB_APPS"] = ",".join(filter(None, [os.environ.get("JOB_APPS"), DEMO_APP]))

    def _prepare(self) -> None:
        kept_secret(self.data, DEMO_PASSWORD, 12)
        child = self._child("prepare", "prepare_local", "--password-file", str(self.data / DEMO_PASSWORD))
        self._stops.append(("migrations", child.kill))
        child.start()
        child.finish(within=120.0, watch=self.watch)
        self._stops.pop()

    def _start_apps(self) -> None:
        workers, metrics = str(self.options.workers), str(self.options.metrics_port)
        self._apps = [
            self._python("api", "-m", "scheduler.server", "--bind", f"127.0.0.1:{self.options.port}", rank=2),
            self._child("worker", "run_worker", "--processes", workers, "--metrics-port", metrics),
            self._child("scheduler", "run_scheduler"),
        ]
        for child in self._apps:
            child.start()
            self._watched.append(child)
        self._restartable = dict.fromkeys(self._apps[1:], time.monotonic())

    def _child(self, name: str, *command: str) -> Child:
        return self._python(name, "manage.py", *command, rank=2)

    def _python(self, name: str, *arguments: str, rank: int) -> Child:
        log = self.data / "logs" / f"{name}.log"
        return Child(name, [sys.executable, *arguments], log=log, env=self.env, cwd=ROOT, rank=rank)

    # ── signals and steps ────────────────────────────────────────────────────────────────────

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals.append(time.monotonic())

    def _is_hurried(self) -> bool:
        return bool(self._signals) and self._signals[-1] - self._signals[0] > SAME_SIGNAL_SECONDS


def ending(child: Child) -> str:
    """ "killed by signal 9" or "exit status 1"."""
    code = child.returncode or 0
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def last_words(child: Child) -> str:
    """The last lines that warn, or just the last ones, each cut to what a person reads."""
    lines = child.last_lines(count=1000).splitlines()
    shown = [line for line in lines if LOUD.search(line)] or lines
    return "\n".join(
        line if len(line) <= SHOWN_COLUMNS else f"{line[:SHOWN_COLUMNS]}…" for line in shown[-SHOWN_LINES:]
    )
