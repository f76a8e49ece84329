"""`make bench`: everybody side by side on this machine, a table of what came out, and the same as JSON.

python -m benchmarks [--quick] [--only drain,mail] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from benchmarks.ground import Ground
from benchmarks.machine import description
from benchmarks.report import as_json, print_series, tell
from benchmarks.rounds import Series
from benchmarks.workloads import QUICK, WHOLE, WORKLOADS
from scheduler.embedded.child import CannotStart


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or the end of our parent."""


def main() -> int:
    options = _options()
    console = Console(highlight=False, markup=False)
    scale = QUICK if options.quick else WHOLE
    scale = replace(scale, rounds=options.rounds or scale.rounds)
    parent = os.getppid() if options.stop_with_parent else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)

    def watch() -> None:
        if parent is not None and os.getppid() != parent:
            raise Stopped

    folder = Path(tempfile.mkdtemp(prefix="sendonce-bench-"))
    done: list[Series] = []
    try:
        with Ground(folder, watch=watch) as ground:
            for name in options.only:
                done.append(WORKLOADS[name](ground, scale, lambda *what: tell(console, *what)))
                print_series(console, done[-1])
    except Stopped:
        console.print("Stopped; nothing is left behind.")
        return 128 + signal.SIGINT
    except CannotStart as trouble:
        console.print(str(trouble), style="red", soft_wrap=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(as_json(done, description()), indent=1) + "\n")
    return 0


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Sendonce beside its peers.")
    parser.add_argument("--quick", action="store_true", help="less of everything: enough to see a change")
    parser.add_argument("--only", type=_names, default=list(WORKLOADS), help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, help="of each contender (3; with --quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    parser.add_argument("--stop-with-parent", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(WORKLOADS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
