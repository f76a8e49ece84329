"""`make soak`: a steady load for a long time, worker restarts included; what grows is found out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management import BaseCommand
from rich.console import Console

from scheduler.embedded.child import CannotStart
from scheduler.soak.bounds import Bound, has_passed, judge
from scheduler.soak.display import Display
from scheduler.soak.outcome import Outcome
from scheduler.soak.report import as_json, print_report
from scheduler.soak.run import SCHEDULERS, Run
from scheduler.soak.wish import Wish

PLAIN_WIDTH = 160  # where nobody knows how wide a line may be


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or the end of our parent."""


class Command(BaseCommand):
    help = (
        "Post jobs at a steady rate to a whole Sendonce of its own while its workers are restarted, and watch the "
        "memory of each process, connections, Redis, the backlog and the books. Needs no server, and leaves nothing "
        "behind. Exit status 0: every bound holds. 1: one is broken, or the run could not be made. 130: stopped."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--minutes", type=_between(0.3, 7 * 24 * 60), default=30.0, help="of load (30)")
        parser.add_argument("--rate", type=_between(0.5, 10_000), default=200.0, help="jobs posted per second (200)")
        parser.add_argument("--apis", type=_whole(1, 16), default=1, help="API processes (1)")
        parser.add_argument("--workers", type=_whole(1, 64), default=3, help="worker processes (3)")
        parser.add_argument(
            "--restart-every",
            type=_between(2, 86_400),
            default=60.0,
            metavar="SECONDS",
            help="one worker after the other, but for the first when there are several (60)",
        )
        parser.add_argument("--kill", action="store_true", help="restart them with kill -9 instead of SIGTERM")
        parser.add_argument("--seed", type=_whole(0, 10**9), default=1, help="of the times of the posts (1)")
        parser.add_argument("--json", type=_file, metavar="FILE", help="write everything that was found there, too")
        parser.add_argument("--stop-with-parent", action="store_true", help="stop when the calling process ends")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console = Console(highlight=False, markup=False, width=PLAIN_WIDTH)
        wish = Wish(**{field.name: options[field.name] for field in fields(Wish)})
        _announce(console, wish)
        try:
            outcome, bounds = _Attempt(wish, console, with_parent=options["stop_with_parent"]).run()
        except Stopped:
            console.print("Stopped; nothing is left behind.")
            sys.exit(128 + signal.SIGINT)
        except CannotStart as trouble:
            console.print(str(trouble), style="red", soft_wrap=True)
            sys.exit(1)
        if options["json"]:
            options["json"].write_text(json.dumps(as_json(outcome, bounds), indent=1))
        print_report(console, outcome, bounds)
        sys.exit(not has_passed(bounds))


class _Attempt:
    """A run in a folder of its own, which is kept when a bound is broken."""

    def __init__(self, wish: Wish, console: Console, *, with_parent: bool) -> None:
        self._wish, self._console = wish, console
        self._parent = os.getppid() if with_parent else None
        self._is_stopping = False

    def run(self) -> tuple[Outcome, list[Bound]]:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        folder = Path(tempfile.mkdtemp(prefix="sendonce-soak-"))
        try:
            with Display(self._console) as display:
                outcome = Run(self._wish, folder, show=display.show, watch=self._watch).run()
            bounds = judge(outcome)
            if not has_passed(bounds):
                kept = folder.rename(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-kept"))
                self._console.print(f"Data and logs are kept in {kept}", soft_wrap=True)
            return outcome, bounds
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(self) -> None:
        if self._is_stopping or (self._parent is not None and os.getppid() != self._parent):
            raise Stopped

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True


def _announce(console: Console, wish: Wish) -> None:
    how = "kill -9" if wish.kill else "SIGTERM"
    console.print(
        f"{wish.minutes:g} min at {wish.rate:g} jobs/s through {_many(wish.apis, 'API')}, "
        f"{_many(wish.workers, 'worker')} and {_many(SCHEDULERS, 'scheduler')}; "
        f"a worker is restarted every {wish.restart_every:g} s ({how}); seed {wish.seed}",
        style="bold",
    )
    console.print(
        f"Redis remembers keys for {wish.ttl_seconds} s here, so that its steady state is reached (the default is a "
        "day); PostgreSQL runs without fsync; the log level is WARNING.\n",
        style="dim",
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _file(text: str) -> Path:
    """Asked at once: after half an hour it is too late to learn that it cannot be written."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ArgumentTypeError(f"{text!r} cannot be written; give a file in a folder that exists")
    return path


def _between(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return number

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isdecimal() else least - 1
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return read
