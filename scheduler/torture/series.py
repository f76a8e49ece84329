"""Several seeds in a row, each on a folder and servers of its own, judged one by one."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from scheduler.torture.display import Display
from scheduler.torture.plan import Wish
from scheduler.torture.trial import Trial
from scheduler.torture.verdict import Verdict, judge

EVIDENCE = "evidence.json"


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or the end of our parent."""


class Series:
    """`run()` gives a verdict for each seed. What a failed one left behind is kept, and with `keep` all is."""

    def __init__(self, wish: Wish, seeds: Sequence[int], console: Console, *, keep: bool, with_parent: bool) -> None:
        self._wish = wish
        self._seeds = seeds
        self._console = console
        self._keep = keep
        self._parent = os.getppid() if with_parent else None
        self._is_stopping = False

    def listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def run(self) -> Iterator[Verdict]:
        """One after the other. Raises Stopped, CannotStart or ClockWasSet; no process is left then either."""
        with Display(self._console) as display:
            for seed in self._seeds:
                verdict = self._run_seed(seed, display)
                display.tell_verdict(verdict)
                yield verdict

    def _run_seed(self, seed: int, display: Display) -> Verdict:
        folder = Path(tempfile.mkdtemp(prefix=f"sendonce-torture-{seed}-"))
        try:
            wish = replace(self._wish, seed=seed)
            evidence = Trial(wish, folder, show=display.show, tell=display.tell, watch=self._watch).run()
            verdict = judge(evidence)
            if self._keep or not verdict.has_passed:
                evidence.save(folder / EVIDENCE)
                display.say(f"Seed {seed}: data, logs and evidence are kept in {_kept(folder)}")
            return verdict
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(self) -> None:
        if self._is_stopping or (self._parent is not None and os.getppid() != self._parent):
            raise Stopped

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True


def _kept(folder: Path) -> Path:
    """Under another name, out of reach of those who clear up."""
    return folder.rename(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-kept"))
