"""`make bench`: everybody side by side on this machine, a table of what came out, and the same as JSON or as a picture.

python -m benchmarks [--quick] [--only drain,mail] [--rounds 3] [--json FILE] [--save] [--chart FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live

from benchmarks import results
from benchmarks.chart import chart
from benchmarks.ground import Ground
from benchmarks.machine import description
from benchmarks.progress import Progress
from benchmarks.report import as_json, print_series, tell
from benchmarks.rounds import Figures, Series, Turn
from benchmarks.workloads import QUICK, QUICKLY, WHOLE, WORKLOADS, Scale
from scheduler.embedded.child import CannotStart


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or the end of our parent."""


def main() -> int:
    options = _options()
    console = Console(highlight=False, markup=False)
    parent = os.getppid() if options.stop_with_parent else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)

    def watch() -> None:
        if parent is not None and os.getppid() != parent:
            raise Stopped

    folder = Path(tempfile.mkdtemp(prefix="sendonce-bench-"))
    run = Run(console, options)
    try:
        with Ground(folder, watch=watch) as ground, run.shown:
            for name in options.only:
                run.measure(name, ground, _scale(options))
    except Stopped:
        console.print("Stopped; nothing is left behind.")
        return 128 + signal.SIGINT
    except CannotStart as trouble:
        console.print(str(trouble), style="red", soft_wrap=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    run.close()
    return 0


class Run:
    """All that is asked for, one workload after the other, and what is told of it."""

    def __init__(self, console: Console, options: argparse.Namespace) -> None:
        self._console, self._options = console, options
        self._stored = results.last(is_quick=options.quick)
        self._progress = Progress(options.only, results.seconds(self._stored))
        self._done: list[Series] = []
        self._told: dict[str, Any] = {}
        # Drawn when something has happened and not by a clock, which would take time from what is measured.
        self.shown = Live(console=console, auto_refresh=False, transient=True)

    def measure(self, name: str, ground: Ground, scale: Scale) -> None:
        self._progress.begin(name)
        series = WORKLOADS[name](ground, scale, self._tell)
        self._told[name] = results.summary(series, seconds=self._progress.end())
        self._done.append(series)
        print_series(self._console, series)

    def close(self) -> None:
        """The comparison with what is stored, and the files that were asked for."""
        machine, version = description(), results.version()
        told = {"version": version, "machine": machine, "workloads": self._told}
        for line in results.comparison(told, self._stored):
            self._console.print(line, soft_wrap=True)
        if self._options.json:
            self._options.json.write_text(json.dumps(as_json(self._done, machine), indent=1) + "\n")
        if self._options.chart:
            self._options.chart.write_text(chart(told))
        if self._options.save:
            path = results.path_of(version, is_quick=self._options.quick)
            path.with_suffix(".svg").write_text(chart(results.save(told, path)))
            self._console.print(f"Stored in {path}, and beside it the picture.", soft_wrap=True)

    def _tell(self, turn: Turn, figures: Figures | None) -> None:
        if figures is not None:
            tell(self._console, turn, figures)
        elif self._console.is_terminal:
            self.shown.update(self._progress.line(turn), refresh=True)
        else:
            self._console.print(self._progress.line(turn), soft_wrap=True)


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else WHOLE
    return replace(scale, rounds=options.rounds or scale.rounds, old_rows=options.old_rows or scale.old_rows)


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Sendonce beside its peers.")
    parser.add_argument("--quick", action="store_true", help="less of everything: enough to see a change")
    parser.add_argument("--only", type=_names, help=f"some of {','.join(WORKLOADS)}; with --quick all but sweep")
    parser.add_argument("--rounds", type=int, help="of each contender (3; with --quick 1)")
    parser.add_argument(
        "--old-rows",
        type=_sizes,
        metavar="N,N",
        help="sizes of the growth (0,1000000,10000000, which takes 20 GB of disk for a while; with --quick 0,100000)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios there (SVG)")
    parser.add_argument(
        "--save", action="store_true", help="keep the medians and the picture in benchmarks/results, by version"
    )
    parser.add_argument("--stop-with-parent", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.only = options.only or (QUICKLY if options.quick else list(WORKLOADS))
    return options


def _sizes(text: str) -> tuple[int, ...]:
    sizes = sorted({int(part) if part.strip().isdecimal() else -1 for part in text.split(",")})
    if sizes[0] < 0 or len(sizes) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}: two numbers or more, of which the least is compared with the most")
    return tuple(sizes)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(WORKLOADS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
