"""Types of a shop; each handler does one thing that handlers do."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from jobs.errors import Permanent, Transient
from jobs.states import Priority
from jobs.types import Retry, RunningJob, job_type


class ReportPayload(Struct, forbid_unknown_fields=True):
    """What a report is about."""

    order: int


class ToldPayload(Struct, forbid_unknown_fields=True):
    """What the handler is to do."""

    do: str
    note: str = ""  # a file to write into


@job_type("shop.report", payload=ReportPayload, may_be_repeated=True, priority=Priority.LOW, retry=Retry(attempts=2))
def report(job: RunningJob[ReportPayload]) -> dict[str, Any]:
    return {"order": job.payload.order, "attempt": job.attempt, "key": job.idempotency_key, "pid": os.getpid()}


@job_type("shop.report-async", payload=ReportPayload, may_be_repeated=True, time_limit_seconds=5.0)
async def report_async(job: RunningJob[ReportPayload]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"order": job.payload.order, "seconds_left": job.seconds_left, "correlation_id": job.correlation_id}


def _do(job: RunningJob[ToldPayload]) -> Any:
    if job.payload.note:
        with Path(job.payload.note).open("a") as note:
            note.write(f"{job.attempt} {os.getpid()}\n")
    match job.payload.do:
        case "spin":
            while True:
                pass
        case "sleep":
            time.sleep(3600)
        case "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        case "die":
            os._exit(7)
        case "transient":
            raise Transient("The stock is being counted.", kind="counting", retry_after=90.0)
        case "permanent":
            raise Permanent("There is no such order.", kind="no_order", code=404)
        case "fail":
            raise KeyError("ann@example.org")
        case "set":
            return {"set": {1, 2}, "odd": object()}
        case "list":
            return [1, 2]
        case "large":
            return {"large": "x" * 300_000}
    return None


@job_type("shop.told", payload=ToldPayload, time_limit_seconds=1.0)
def told(job: RunningJob[ToldPayload]) -> Any:
    return _do(job)


@job_type("shop.told-again", payload=ToldPayload, time_limit_seconds=1.0, may_be_repeated=True)
def told_again(job: RunningJob[ToldPayload]) -> Any:
    return _do(job)


@job_type("shop.told-async", payload=ToldPayload, time_limit_seconds=1.0, may_be_repeated=True)
async def told_async(job: RunningJob[ToldPayload]) -> Any:
    if job.payload.do == "wait":
        await asyncio.sleep(3600)
    return _do(job)
