"""What goes to a handler's process and what comes back, and what happens there in between."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import django
import msgspec
import structlog
from django.apps import apps
from msgspec import Struct

from jobs import kin
from jobs.claims import Claim
from jobs.errors import Permanent, Transient

LARGEST_RESULT_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class Errand(Struct, frozen=True, kw_only=True):
    """One attempt of one job."""

    job_id: UUID
    type: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    correlation_id: str
    limit_seconds: float
    trace_id: str | None = None

    @classmethod
    def of(cls, claim: Claim, *, limit_seconds: float) -> Errand:
        return cls(
            job_id=claim.job_id,
            type=claim.type,
            payload=claim.payload,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
            correlation_id=claim.correlation_id,
            limit_seconds=limit_seconds,
            trace_id=claim.trace_id,
        )


class How(StrEnum):
    """How a handler ended."""

    DONE = "done"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNDONE = "undone"  # it did not say: ended at its limit, dead, or failed by an error that is neither of the two


class Ending(Struct, frozen=True, kw_only=True):
    """What came of an errand."""

    how: How
    result: dict[str, Any] = {}
    detail: str = ""
    kind: str = "error"
    code: int | None = None
    retry_after: float | None = None


LATE = Ending(how=How.UNDONE, detail="It was ended at its time limit.", kind="time_limit")


# ── In the handler's process ──────────────────────────────────────────────────────────────────


def move_in(parent: int) -> None:
    """Once, before the first errand. A process whose worker was killed has nobody to answer to, and ends."""
    if not apps.ready:
        django.setup()
    kin.follow(parent)


def carry_out(errand: bytes) -> bytes:
    """Run the handler of an Errand; its Ending. Both as JSON: no class of an app has to be known on both sides."""
    asked = msgspec.json.decode(errand, type=Errand)
    trace = {"trace_id": asked.trace_id} if asked.trace_id else {}
    with structlog.contextvars.bound_contextvars(
        job_id=str(asked.job_id), correlation_id=asked.correlation_id, **trace
    ):
        return msgspec.json.encode(_carry_out(asked))


def _carry_out(errand: Errand) -> Ending:
    from django.db import close_old_connections

    close_old_connections()
    try:
        return _done(_run(errand))
    except Transient as error:
        return Ending(
            how=How.TRANSIENT,
            detail=error.detail,
            kind=error.kind,
            code=error.code,
            retry_after=error.retry_after,
        )
    except Permanent as error:
        return Ending(how=How.PERMANENT, detail=error.detail, kind=error.kind, code=error.code)
    except _LimitReached:
        return LATE
    except Exception as error:  # whatever a handler may raise
        log.exception("handler_failed", type=errand.type)
        return Ending(how=How.UNDONE, detail=_where(error), kind="handler_failed")
    finally:
        close_old_connections()


class _LimitReached(Exception):
    """Ours: a TimeoutError may also be the handler's own."""


def _run(errand: Errand) -> Any:
    from jobs import payloads, types

    type_ = types.find(errand.type)
    if type_ is None or type_.handler is None:
        raise Transient("This worker has no handler for it.", kind="no_handler")
    job = types.RunningJob(
        id=errand.job_id,
        type=errand.type,
        payload=payloads.from_stored(errand.type, errand.payload),
        attempt=errand.attempt,
        max_attempts=errand.max_attempts,
        correlation_id=errand.correlation_id,
        idempotency_key=str(errand.job_id),
        deadline=datetime.now(UTC) + timedelta(seconds=errand.limit_seconds),
    )
    returned = type_.handler(job)
    return asyncio.run(_awaited(returned, errand.limit_seconds)) if inspect.isawaitable(returned) else returned


async def _awaited(returned: Any, limit_seconds: float) -> Any:
    try:
        async with asyncio.timeout(limit_seconds) as limit:
            return await returned
    except TimeoutError:
        if limit.expired():
            raise _LimitReached from None
        raise


def _done(returned: Any) -> Ending:
    """It has been done, whatever it returned: what cannot be stored is named instead of it."""
    try:
        result = msgspec.to_builtins(returned if returned is not None else {}, str_keys=True)
        size = len(msgspec.json.encode(result))
    except (TypeError, ValueError, OverflowError) as error:
        return Ending(how=How.DONE, result={"not_stored": f"The handler returned what JSON cannot hold: {error}"})
    if not isinstance(result, dict):
        return Ending(
            how=How.DONE, result={"not_stored": f"The handler returned a {type(returned).__name__}, no object."}
        )
    if size > LARGEST_RESULT_BYTES:
        return Ending(
            how=How.DONE,
            result={"not_stored": f"The result has {size} bytes; at most {LARGEST_RESULT_BYTES} are kept."},
        )
    return Ending(how=How.DONE, result=result)


def _where(error: BaseException) -> str:
    """What it is and where it came from. Not its words: they may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
