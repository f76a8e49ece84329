"""A node of workers with parts that hang or die: `python -m tests.journeys.faulty_worker PORT`, PORT for its probes.

A mail with the subject HANGS never gets out of its renderer. A file named for a thread, in the folder FAULTS, kills
that thread of whichever process finds it first.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path

HANGS = "Hangs"
STEPS = {
    "taker": ("workers.taker", "Taker", "_step"),
    "recorder": ("workers.recorder", "Recorder", "_gather"),
    "heartbeat": ("workers.heartbeat", "Heartbeat", "_try_to_beat"),
}


def make_faulty(folder: Path) -> None:
    letter = importlib.import_module("workers.channels.letter")
    write = letter.write

    def write_or_hang(claim):
        if claim.payload.get("subject") == HANGS:
            time.sleep(3600)
        return write(claim)

    letter.write = write_or_hang
    for thread, (module, cls, step) in STEPS.items():
        _let_die(getattr(importlib.import_module(module), cls), step, folder / thread)


def _let_die(owner: type, step: str, order: Path) -> None:
    do = getattr(owner, step)

    def do_or_die(self):
        try:
            order.unlink()
        except FileNotFoundError:
            return do(self)
        raise ZeroDivisionError(f"{order.name} dies, as it was told")

    setattr(owner, step, do_or_die)


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
    django.setup()
    if "--follow-stdin" in sys.argv:
        from django.core.management import call_command

        make_faulty(Path(os.environ["FAULTS"]))
        call_command("run_worker", *sys.argv[1:])
    else:
        from workers.node import Node

        command = ["-m", "tests.journeys.faulty_worker"]
        sys.exit(Node(processes=2, command=command, metrics_port=int(sys.argv[1])).run())
