"""One child process: started apart from the terminal, awaited by a condition, ended for certain."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

KEPT_LOG_BYTES = 10 * 1024 * 1024


class CannotStart(Exception):
    """Something local cannot start; the text says what and the remedy, for the person at the terminal."""


class Child:
    """A process in a session of its own, so that Ctrl-C reaches only its parent, which ends it in order.

    Should the parent be killed, the guardian ends the child: those of higher `rank` first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        rank: int = 0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._env = env
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._rank = rank
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.is_running, f"{self.name} is running already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > KEPT_LOG_BYTES:
            self.log.unlink()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        tell_guardian(f"watch {self.pid} {int(self._stop_signal)} {self._rank}")

    def wait_until(self, ready: Callable[[], bool], *, within: float, watch: Callable[[], None] | None = None) -> None:
        """Return once `ready()`; CannotStart with the last lines of the log when it dies or takes too long.

        `watch` is called between looks and may raise to leave.
        """

        def ready_or_dead() -> bool:
            return ready() or not self.is_running

        if not wait_for(ready_or_dead, within=within, watch=watch):
            raise CannotStart(f"{self.name} was not ready within {within:.0f} s.\n{self.last_lines()}")
        if not self.is_running:
            raise CannotStart(self.obituary())

    def finish(self, *, within: float, watch: Callable[[], None] | None = None) -> None:
        """Wait for a child that ends by itself; CannotStart unless it ends well and in time."""
        if not wait_for(lambda: not self.is_running, within=within, watch=watch):
            self.kill()
            raise CannotStart(f"{self.name} took longer than {within:.0f} s.\n{self.last_lines()}")
        self._reap()
        if self.returncode:
            raise CannotStart(self.obituary())

    def ask_to_stop(self, number: signal.Signals | None = None) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number or self._stop_signal)

    def stop(
        self,
        *,
        within: float = 10.0,
        number: signal.Signals | None = None,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask it to end; after `within` seconds, or once `hurry()`, kill it. Nothing of it is left afterwards."""
        self.ask_to_stop(number)
        wait_for(lambda: not self.is_running or hurry(), within=within)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and to what it left in its group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._reap()

    def obituary(self) -> str:
        """How it ended and its last words."""
        return f"{self.name} ended with exit status {self.returncode}. Log: {self.log}\n{self.last_lines()}"

    def last_lines(self, count: int = 15) -> str:
        """The end of what it wrote since it was last started."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, self.log.stat().st_size - 16_384))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-count:])

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            tell_guardian(f"forget {self._process.pid}")


def wait_for(condition: Callable[[], bool], *, within: float, watch: Callable[[], None] | None = None) -> bool:
    """Look until the condition holds (True) or the seconds are over (False)."""
    deadline = time.monotonic() + within
    while not condition():
        if watch is not None:
            watch()
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.03)
    return True


def is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_port_open(port: int) -> bool:
    """Whether somebody listens: unlike `is_port_free` it takes the port from nobody who is about to."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A free TCP port below those the kernel lends to outgoing connections: a restarted server finds it free again."""
    for _ in range(200):
        port = random.randrange(15_000, 32_000)
        if is_port_free(port):
            return port
    raise CannotStart("No free TCP port between 15000 and 32000 on 127.0.0.1.")


def tell_guardian(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(_guardian(), f"{line}\n".encode())


_held: list[IO[str]] = []


def hold_until_all_ended(lock: IO[str]) -> None:
    """Let the guardian hold this locked file too: a killed run's lock opens when its children are gone.

    To be called before the first child is started.
    """
    assert not _guardian.cache_info().currsize, "the guardian runs already"
    _held.append(lock)


@cache
def _guardian() -> int:
    """The writing end of the pipe to this process's guardian; the kernel closes it when we die, however we die."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py"))],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        pass_fds=[lock.fileno() for lock in _held],
    )
    process.returncode = 0  # it outlives us by design: nobody is to wait for it, nor warn that nobody did
    os.close(reader)
    return writer
