"""`make torture`: the proof. A whole Sendonce is killed, cut off and lied to, while four books are kept; then they are
held against each other."""

from __future__ import annotations

import json
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandParser
from rich.console import Console

from scheduler.embedded.child import CannotStart
from scheduler.torture import faults
from scheduler.torture.evidence import Evidence
from scheduler.torture.faults import Fault
from scheduler.torture.plan import Wish
from scheduler.torture.report import print_report, series_as_json
from scheduler.torture.series import Series, Stopped
from scheduler.torture.trial import PERIODS, ClockWasSet
from scheduler.torture.verdict import Verdict, judge

PLAIN_WIDTH = 160  # where nobody knows how wide a line may be
EPILOG = "\n".join(
    [
        "faults:",
        *(f"  {fault:<18}{fault.help}" for fault in Fault),
        "",
        "Exit status 0: nothing sent twice, nothing lost, nothing falsely unknown or dead, and the books balance.",
        "1: something of that was found, or the run could not be made. 130: stopped by a signal.",
    ]
)


class Command(BaseCommand):
    help = (
        "Run jobs through a whole Sendonce of its own while processes are killed, servers go away and the SMTP server "
        "misbehaves; then hold the books against each other. Needs no server, and leaves nothing behind."
    )
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--jobs", type=_number(1, 1_000_000), default=2000, help="for each seed (2000)")
        parser.add_argument("--workers", type=_number(1, 64), default=3, help="worker processes (3)")
        parser.add_argument("--schedulers", type=_number(1, 16), default=2, help="scheduler processes (2)")
        parser.add_argument("--minutes", type=_minutes, default=3.0, help="for which jobs come in (3)")
        parser.add_argument("--seed", type=_number(0, 10**9), help="of all chance (1)")
        parser.add_argument("--seeds", type=_seeds, help="several runs, one after the other: 1-20, or 3,5,8")
        parser.add_argument("--faults", type=_faults, default=frozenset(Fault), help="all, none, or a list; see below")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found there, too")
        parser.add_argument("--keep", action="store_true", help="keep data, logs and evidence, of good runs too")
        parser.add_argument(
            "--judge", type=Path, metavar="EVIDENCE", nargs="+", help="run nothing; judge the evidence of earlier runs"
        )
        parser.add_argument("--stop-with-parent", action="store_true", help="stop when the calling process ends")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console = Console(highlight=False, markup=False, width=PLAIN_WIDTH)
        verdicts: list[Verdict] = []
        status = self._collect(verdicts, console, options)
        if verdicts:
            print_report(console, verdicts)
        sys.exit(status or not all(verdict.has_passed for verdict in verdicts))

    def _collect(self, verdicts: list[Verdict], console: Console, options: dict[str, Any]) -> int:
        """All verdicts that there are, also when something ends it early; the exit status that this asks for."""
        try:
            for verdict in self._judge(options["judge"]) if options["judge"] else self._run(console, options):
                verdicts.append(verdict)
                if options["json"]:
                    options["json"].write_text(json.dumps(series_as_json(verdicts), indent=1))
        except Stopped:
            console.print("Stopped; nothing is left behind.")
            return 128 + signal.SIGINT
        except (CannotStart, ClockWasSet) as trouble:
            console.print(str(trouble), style="red", soft_wrap=True)
            return 1
        return 0

    def _judge(self, files: list[Path]) -> Iterator[Verdict]:
        for file in files:
            try:
                evidence = Evidence.load(file)
            except (OSError, ValueError) as error:
                raise CannotStart(f"--judge: no evidence of a run can be read there: {error}") from error
            yield judge(evidence)

    def _run(self, console: Console, options: dict[str, Any]) -> Iterator[Verdict]:
        seeds = options["seeds"] or [1 if options["seed"] is None else options["seed"]]
        if options["schedulers"] < 2 and Fault.KILL_SCHEDULER in options["faults"]:
            console.print("One scheduler: while it is killed nobody rescues anything, and recovery takes longer.")
        wish = Wish(
            jobs=options["jobs"],
            minutes=options["minutes"],
            workers=options["workers"],
            schedulers=options["schedulers"],
            faults=options["faults"],
        )
        _announce(console, wish, seeds)
        series = Series(wish, seeds, console, keep=options["keep"], with_parent=options["stop_with_parent"])
        series.listen_to_signals()
        return series.run()


def _announce(console: Console, wish: Wish, seeds: list[int]) -> None:
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    console.print(
        f"{named}: {wish.jobs} jobs in {wish.minutes:g} min through {wish.apis} APIs, {wish.workers} workers and "
        f"{wish.schedulers} schedulers; faults: {faults.told(wish.faults)}",
        style="bold",
    )
    console.print("Periods: " + ", ".join(f"{name} {value}" for name, value in PERIODS.items()) + "\n", style="dim")


def _number(least: int, most: int) -> Any:
    def read(text: str) -> int:
        number = int(text) if text.isdecimal() else least - 1
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return number

    return read


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0.1 <= minutes <= 24 * 60:
        raise ArgumentTypeError(f"{text!r} is no length in minutes, from 0.1 to 1440")
    return minutes


def _seeds(text: str) -> list[int]:
    """`1-20`, `3,5,8`, or both."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ArgumentTypeError(f"{text!r}: write 1-20, or 3,5,8")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds:
        raise ArgumentTypeError(f"{text!r} names no seed: write 1-20, or 3,5,8")
    return list(dict.fromkeys(seeds))


def _faults(text: str) -> frozenset[Fault]:
    try:
        return faults.read(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
