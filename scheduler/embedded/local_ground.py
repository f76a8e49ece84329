"""What `run_local` stands on: a folder of its own, free ports, space, and secrets that are made once.

Every refusal is one line that names what is wrong and the remedy.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from scheduler.embedded.child import CannotStart, is_port_free, wait_for
from scheduler.embedded.guardian import is_running

DEMO_USERNAME = "demo"
NEEDED_BYTES = 500 * 1024 * 1024


def take_folder(folder: Path) -> IO[str]:
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
        raise CannotStart(
            f"Another run uses {folder} (process {holder}). Remedy: stop it, or give this one its own: "
            "make run DATA=.local2 PORT=8010 SMTP_PORT=1035"
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


def check_ports(ports: Mapping[str, int]) -> None:
    """`ports` maps make's variable to the number it has: {"PORT": 8000}."""
    for name, port in ports.items():
        if not is_port_free(port):
            other = next(free for free in range(port + 10, port + 1000) if is_port_free(free))
            raise CannotStart(f"Port {port} is taken by another program. Remedy: make run {name}={other}")


def kept_secret(folder: Path, name: str, length: int = 50) -> str:
    """Random, made at the first start, readable by this user only."""
    path = folder / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(length))
    return path.read_text()


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
