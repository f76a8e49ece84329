"""What a person sees while it runs: a moving picture at a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.torture.evidence import Event
from scheduler.torture.findings import Sin
from scheduler.torture.trial import Scene
from scheduler.torture.verdict import Verdict

SECONDS_BETWEEN_LINES = 5.0
SHOWN_EVENTS = 8
WAITING = ("scheduled", "queued", "running")


class Display:
    """Shows the scenes of one run after the other. `tell` may be called from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._events: deque[str] = deque(maxlen=SHOWN_EVENTS)
        self._told_at = 0.0
        self._phase = ("", 0)

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
            self._live.update(self._picture(scene))
        elif (scene.phase, scene.seed) != self._phase or time.monotonic() - self._told_at >= SECONDS_BETWEEN_LINES:
            self._phase, self._told_at = (scene.phase, scene.seed), time.monotonic()
            self._console.print(f"seed {scene.seed}  {_figures(scene)}", soft_wrap=True)

    def tell(self, event: Event) -> None:
        line = _line(event)
        self._events.append(line)
        if not self._live:
            self._console.print(f"  {line}", soft_wrap=True)

    def tell_verdict(self, verdict: Verdict) -> None:
        """One line when a seed is over; the tables come at the end."""
        sins = ", ".join(f"{verdict.count(sin)} {sin}" for sin in Sin if verdict.count(sin))
        self._events.clear()
        self.say(f"Seed {verdict.evidence.run.seed}: {sins or 'passed'} ({verdict.evidence.took_seconds:.0f} s)")

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def _picture(self, scene: Scene) -> Group:
        title = Text.assemble((f"Seed {scene.seed}", "bold"), f": {scene.phase}{_left(scene)}")
        counts = Table.grid(padding=(0, 3))
        counts.add_row(*(Text(name, style="dim") for name in _counts(scene)))
        counts.add_row(*(str(count) for count in _counts(scene).values()))
        bar = ProgressBar(total=max(1, scene.offered), completed=_arrived(scene), width=60)
        return Group(title, bar, counts, Text("\n".join(self._events), style="yellow"))


def _counts(scene: Scene) -> dict[str, int]:
    standing = scene.standing
    return {
        "accepted": scene.accepted,
        "at server": scene.kept,
        "completed": standing.get("completed", 0),
        "waiting": sum(standing.get(status, 0) for status in WAITING),
        "unknown": standing.get("unknown", 0),
        "dead": standing.get("failed", 0),
        "kills": scene.kills,
    }


def _arrived(scene: Scene) -> int:
    return sum(count for status, count in scene.standing.items() if status not in WAITING)


def _figures(scene: Scene) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in _counts(scene).items())
    return f"{scene.phase}{_left(scene)}: {counts}" if scene.began else scene.phase


def _left(scene: Scene) -> str:
    """What the phase waits for, in brackets."""
    if not scene.began:
        return ""
    left = scene.began + scene.seconds - time.monotonic()
    if left > 0:
        return f" ({left:.0f} s left)"
    if scene.unsettled is None:
        return " (the last of both)"
    return f" ({scene.unsettled} on their way)" if scene.unsettled else " (late answers may come)"


def _line(event: Event) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event.over_at or event.at))
    if event.over_at is None:
        return f"{clock}  {event.fault:<17} {event.target}"
    return f"{clock}  {event.fault:<17} {event.target}, undone after {event.over_at - event.at:.1f} s"
