"""What machine this is, how steady it is, and what each process of a round has cost."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

YARDSTICK_LOOPS = 2_000_000
MIB = 1024 * 1024


def description() -> dict[str, Any]:
    """Of this machine, for those who read the figures elsewhere."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def yardstick() -> float:
    """How many empty turns of a loop one processor makes in a second, in millions: the same work, again and again."""
    began = time.perf_counter()
    for _ in range(YARDSTICK_LOOPS):
        pass
    return YARDSTICK_LOOPS / (time.perf_counter() - began) / 1e6


@dataclass(frozen=True)
class Cost:
    """Processor seconds of some processes and of all that they have started, since the meter began."""

    seconds: Mapping[str, float]

    def per(self, count: int) -> dict[str, float]:
        """Microseconds for each of so many jobs."""
        return {name: seconds / count * 1e6 for name, seconds in self.seconds.items()}


class Meter:
    """`with Meter({"worker": pid, …}) as meter: …; meter.read()`. A tree that has ended by then is not counted."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def read(self) -> Cost:
        return Cost({name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()})


def cpu_seconds(pid: int) -> float:
    """Of a process, its living descendants, and those that were waited for."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile: its parent has its time now
            total += sum(process.cpu_times()[:4])
    return total


def pss_mib(pid: int) -> list[float]:
    """The memory of a process and of each of its descendants, what is shared divided by who shares it."""
    return [process.memory_full_info().pss / MIB for process in _tree(pid)]


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
