"""What `run_local` stands on: a folder of its own, free ports, space, and secrets that are made once.

Every refusal is one line that names what is wrong and the remedy.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shlex
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations, count
from pathlib import Path
from typing import IO

from scheduler.embedded.child import CannotStart, is_port_free, wait_for
from scheduler.embedded.guardian import is_running

DEMO_USERNAME = "demo"
ENV_NAMES = (
    *("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_SIGNING_KEY"),
    *("EMAIL_PROVIDERS", "INBOX_DIR", "DEBUG"),
)
NEEDED_BYTES = 500 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What this run was asked for: ports by make's variable ({"PORT": 8000}), and what differs from make's defaults."""

    ports: Mapping[str, int]
    others: Mapping[str, str] = field(default_factory=dict)

    def command(self, moved: Iterable[str], **others: str) -> str:
        """The `make run …` that asks for the same, with the `moved` ports at free numbers: to be pasted as it is."""
        ports = dict(self.ports)
        for name in moved:
            ports[name] = _free_port_near(ports[name], used=set(ports.values()))
        words = {name: str(port) for name, port in ports.items()} | {**self.others, **others}
        return " ".join(["make run", *(f"{name}={shlex.quote(word)}" for name, word in words.items())])


def take_folder(folder: Path, asked: Asked) -> IO[str]:
    """The folder's lock, held until it is closed. Waits for a killed run whose servers are still stopping."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise CannotStart(
            f"{folder} cannot be written ({error.strerror}). "
            "Remedy: give your user the folder, or make run DATA=/other/folder"
        ) from error
    if not wait_for(lambda: _is_ours(lock) or _holder(lock) is not None, within=30.0) or not _is_ours(lock):
        holder = _holder(lock)
        lock.close()
        # All ports move: the other run may be about to take those that look free now.
        elsewhere = asked.command(moved=asked.ports, DATA=str(_free_folder_beside(folder)))
        raise CannotStart(
            f"Another run uses {folder} (process {holder}). Remedy: stop it, or give this one its own: {elsewhere}"
        )
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise CannotStart(
            f"Only {free // 2**20} MB are free for {folder}; {NEEDED_BYTES // 2**20} MB are needed. "
            "Remedy: free some space, or make run DATA=/other/folder"
        )


def check_ports(asked: Asked) -> None:
    """CannotStart names every port that cannot be had, and one command that can."""
    twins = _twins(asked.ports)
    troubles = {name: trouble for name, port in asked.ports.items() if (trouble := _binding_trouble(port))}
    if not twins and not troubles:
        return
    roots = {name for name, trouble in troubles.items() if trouble == errno.EACCES}
    said = [
        *(f"{first} and {second} are both {asked.ports[first]}; each needs its own." for first, second in twins),
        *(f"{name}={asked.ports[name]} needs root; take one above 1023." for name in asked.ports if name in roots),
        *_taken(asked.ports, [name for name in troubles if name not in roots]),
    ]
    moved = [name for name in asked.ports if name in troubles or name in {second for _, second in twins}]
    raise CannotStart(f"{' '.join(said)} Remedy: {asked.command(moved)}")


def kept_secret(folder: Path, name: str, length: int = 50) -> str:
    """Random, made at the first start, readable by this user only."""
    path = folder / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(length))
    return path.read_text()


def write_env(folder: Path, env: Mapping[str, str]) -> None:
    """`<folder>/env`, for a shell of this user to read: how other commands reach the running stack."""
    names = [wanted for name in ENV_NAMES for wanted in (name, f"{name}_FILE") if wanted in env]
    aside = folder / ".env.part"
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    aside.write_text("".join(f"{name}={shlex.quote(env[name])}\n" for name in names))
    aside.rename(folder / "env")


def remove_env(folder: Path) -> None:
    (folder / "env").unlink(missing_ok=True)


def _is_ours(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> int | None:
    """The process that wrote itself into the lock, while it lives."""
    lock.seek(0)
    text = lock.read().strip()
    return int(text) if text.isdigit() and is_running(int(text)) else None


def _twins(ports: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(first, second) for first, second in combinations(ports, 2) if ports[first] == ports[second]]


def _taken(ports: Mapping[str, int], names: list[str]) -> list[str]:
    told = [f"{ports[name]} ({name})" for name in names]
    if not told:
        return []
    if len(told) == 1:
        return [f"Port {told[0]} is taken by another program."]
    return [f"Ports {', '.join(told[:-1])} and {told[-1]} are taken by other programs."]


def _binding_trouble(port: int) -> int | None:
    """Why it cannot be listened on, as an errno; None when it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return None


def _free_port_near(port: int, used: Iterable[int]) -> int:
    """10 further (8010 for 8000), or for a privileged one 8000 further (8080 for 80), or the next that is free."""
    start = port + (10 if port > 1023 else 8000)
    candidates = chain(range(start, 65536), range(8010, 65536))
    return next(free for free in candidates if free not in used and is_port_free(free))


def _free_folder_beside(folder: Path) -> Path:
    """`.local2` for `.local`, or the next number that no run uses; relative where that is what people typed."""
    stem = folder.name.rstrip("0123456789") or folder.name
    beside = (folder.with_name(f"{stem}{number}") for number in count(2))
    free = next(each for each in beside if each != folder and not _is_in_use(each))
    return free.relative_to(Path.cwd()) if free.is_relative_to(Path.cwd()) else free


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as lock:
            return not _is_ours(lock)
    except FileNotFoundError:
        return False
    except OSError:  # somebody else's
        return True
