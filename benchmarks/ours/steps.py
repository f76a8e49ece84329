"""What each step of a mail costs our worker's process and PostgreSQL, and what the same step costs at the very least.

    python -m benchmarks.ours.steps 5000 --postgres PID

Writes JSON: {step: {"worker": µs a mail, "PostgreSQL": µs a mail}}. The steps are called as a worker calls them, in
batches, but one after the other and without its loop and threads: what a whole worker takes beyond their sum is what
it costs to have hundreds of them under way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import django

from benchmarks.machine import cpu_seconds

BATCH = 200
LINES = 64  # connections, as a pool has them


class Clock:
    """Processor time of this process and of PostgreSQL, by step."""

    def __init__(self, postgres: int, mails: int) -> None:
        self._postgres, self._mails = postgres, mails
        self.steps: dict[str, dict[str, float]] = {}

    def time(self, step: str, do: Callable[..., Any], *args: Any) -> Any:
        theirs, mine = cpu_seconds(self._postgres), time.process_time()  # to ask for theirs takes some of mine
        done = do(*args)
        spent = {"worker": time.process_time() - mine}
        spent["PostgreSQL"] = cpu_seconds(self._postgres) - theirs
        so_far = self.steps.setdefault(step, dict.fromkeys(spent, 0.0))
        for who, seconds in spent.items():
            so_far[who] += seconds / self._mails * 1e6
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mails", type=int)
    parser.add_argument("--postgres", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    from benchmarks.ours import floors

    clock = Clock(options.postgres, options.mails)
    with tempfile.TemporaryDirectory(prefix="sendonce-steps-") as folder:
        walk(Clock(options.postgres, BATCH), BATCH, Path(folder) / "warm" / "journal")  # plans, connections, imports
        walk(clock, options.mails, Path(folder) / "journal")
    floors.walk(clock, options.mails, port=int(os.environ["BENCH_SMTP_PORT"]), lines=LINES, batch=BATCH)
    sys.stdout.write(json.dumps(clock.steps) + "\n")


def walk(clock: Clock, mails: int, journals: Path) -> None:
    """Every step for all mails that lie ready."""
    from jobs import transitions
    from workers import gate
    from workers.channels import letter
    from workers.journal import Journal

    me, claims = uuid4(), []
    for _ in range(0, mails, BATCH):
        ids = [waiting.job_id for waiting in clock.time("queue", _take)]
        claims.append(clock.time("claim", partial(transitions.claim, worker=me), ids))
    claims = [clock.time("gate", gate.admit, batch) for batch in claims]
    letters = [clock.time("build", list, map(letter.write, batch)) for batch in claims]
    for batch in claims:
        clock.time("mark", transitions.mark, [(claim, "sink") for claim in batch])
    receipts = clock.time("SMTP", asyncio.run, _send([each for batch in letters for each in batch]))
    journal = Journal(journals, me)
    for batch in claims:
        clock.time("settle", _settle, [_settlement(claim, receipts[claim.job_id], me) for claim in batch], journal)
    journal.close()


def _take() -> list[Any]:
    from jobs import queue
    from jobs.states import Priority

    return queue.take(list(Priority), limit=BATCH, timeout_seconds=1.0)


async def _send(letters: Iterable[Any]) -> dict[Any, Any]:
    """Over a pool as a worker's, but for its marks."""
    from uuid import UUID

    from jobs.conf import tunables
    from workers.channels.email import EmailChannel
    from workers.providers import endpoints

    channel = EmailChannel(endpoints(), tunables())
    receipts: dict[Any, Any] = {}
    rest: Iterator[Any] = iter(letters)

    async def work() -> None:
        for letter in rest:
            async with channel.connect(letter, channel.routes(letter)[0]) as line:
                await line.offer(letter)
                receipts[UUID(letter.message_id[1:37])] = await line.commit()

    await asyncio.gather(*(work() for _ in range(4 * LINES)))
    await channel.close()
    return receipts


def _settlement(claim: Any, receipt: Any, worker: Any) -> Any:
    from workers import settlement

    return settlement.of_receipt(claim, receipt, worker=worker, marked=True, took_seconds=0.01)


def _settle(ends: list[Any], journal: Any) -> None:
    from jobs import queue, transitions

    for end in ends:
        journal.write(end)
    transitions.settle(ends)
    journal.strike([end.claim.token for end in ends])
    queue.remember_sent(end.claim.dedupe_hash for end in ends)


if __name__ == "__main__":
    main()
