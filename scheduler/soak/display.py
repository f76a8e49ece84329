"""What a person sees while it runs: a moving picture at a terminal, a line for each sample elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.soak.run import Scene
from scheduler.soak.samples import ProcessSample, Sample

MIB = 1024 * 1024


class Display:
    """Shows the scenes of one run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._told: tuple[str, Sample | None] = ("", None)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        if self._live:
            self._live.update(_picture(scene))
        elif self._told != (scene.phase, scene.sample):
            is_new = scene.sample is not None and scene.sample is not self._told[1]
            self._told = (scene.phase, scene.sample)
            self._console.print(_line(scene, scene.sample) if is_new and scene.sample else scene.phase, soft_wrap=True)


def _line(scene: Scene, sample: Sample) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in _figures(scene, sample).items())
    return f"{sample.at:6.0f} s  {figures}"


def _picture(scene: Scene) -> Group:
    title = Text.assemble((f"Soak, {scene.wish.rate:g} jobs/s", "bold"), f": {scene.phase}")
    if scene.sample is None:
        return Group(title)
    passed = min(scene.wish.seconds, time.monotonic() - scene.began)
    title.append(f"  ({(scene.wish.seconds - passed) / 60:.1f} min left)")
    figures = _figures(scene, scene.sample)
    counts = Table.grid(padding=(0, 3))
    counts.add_row(*(Text(name, style="dim") for name in figures))
    counts.add_row(*figures.values())
    bar = ProgressBar(total=scene.wish.seconds, completed=passed, width=60)
    return Group(title, bar, counts, Text(), _processes(scene.sample, scene.before))


def _figures(scene: Scene, sample: Sample) -> dict[str, str]:
    return {
        "accepted": str(sample.accepted),
        "at the server": str(sample.at_server),
        "rate": f"{_rate(sample, scene.before):.0f}/s",
        "backlog": str(sample.backlog),
        "lag p50/p99": f"{sample.lag.p50:.2f}/{sample.lag.p99:.2f} s",
        "unknown": str(sample.unknown),
        "Redis": f"{sample.redis_keys} keys {sample.redis_bytes / MIB:.1f} MiB",
        "connections": str(sample.connections),
        "restarts": str(scene.restarts),
        "machine": f"{sample.machine_busy:.0%}",
    }


def _rate(sample: Sample, before: Sample | None) -> float:
    if before is None or sample.at <= before.at:
        return 0.0
    return (sample.accepted - before.accepted) / (sample.at - before.at)


def _processes(sample: Sample, before: Sample | None) -> Table:
    table = Table(box=None, padding=(0, 2))
    for name in ("process", "RSS MiB", "CPU", "PostgreSQL", "Redis", "files", "threads", "age s"):
        table.add_column(name, justify="left" if name == "process" else "right", style="dim")
    earlier = {process.pid: process for process in before.processes} if before else {}
    for process in sample.processes:
        was = earlier.get(process.pid)
        share = _cpu(process, was, sample.at - before.at) if was and before else 0.0
        table.add_row(
            process.name,
            f"{process.rss / MIB:.1f}",
            f"{share:.0%}",
            *(str(n) for n in (process.to_postgres, process.to_redis, process.files, process.threads)),
            f"{process.age:.0f}",
        )
    return table


def _cpu(now: ProcessSample, was: ProcessSample, seconds: float) -> float:
    return (now.cpu_seconds - was.cpu_seconds) / seconds if seconds > 0 else 0.0
