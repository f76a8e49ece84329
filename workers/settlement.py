"""From what happened to what is written: receipts and errors become settlements. Pure."""

from __future__ import annotations

from uuid import UUID

from jobs import types
from jobs.backoff import wait_seconds
from jobs.claims import Claim
from jobs.conf import Tunables
from jobs.errors import DeliveryError, Invalid, Permanent, Transient, Unanswered
from jobs.settlements import Settlement, clean
from jobs.states import Outcome
from workers.channels.base import Receipt


def of_receipt(claim: Claim, receipt: Receipt, *, worker: UUID, marked: bool, took_seconds: float) -> Settlement:
    """The other side has it. `marked`: the dot mark had been committed."""
    return Settlement(
        claim=claim,
        outcome=Outcome.SENT,
        worker=worker,
        marked=marked,
        provider=receipt.provider,
        code=receipt.code,
        detail=clean(receipt.detail),
        took_seconds=took_seconds,
        result=receipt.result | ({"suppressed": list(claim.suppressed)} if claim.suppressed else {}),
    )


def of_error(
    claim: Claim,
    error: BaseException | None,
    *,
    worker: UUID,
    provider: str | None,
    marked: bool,
    took_seconds: float,
    conf: Tunables,
) -> Settlement:
    """It was refused, or nobody knows. `marked`: the dot mark had been committed."""
    known = error if isinstance(error, DeliveryError) else None
    return Settlement(
        claim=claim,
        outcome=_outcome(error, marked=marked),
        worker=worker,
        marked=marked,
        wait_seconds=wait_seconds(
            claim.attempt,
            conf,
            retry=type_.retry if (type_ := types.find(claim.type)) else None,
            retry_after=known.retry_after if known else None,
        ),
        provider=provider,
        kind=known.kind if known else "error",
        code=known.code if known else None,
        detail=clean(known.detail if known else type(error).__name__),
        took_seconds=took_seconds,
    )


def _outcome(error: BaseException | None, *, marked: bool) -> Outcome:
    """Errors that nobody foresaw count as transient before the mark, and as unknown after it."""
    match error:
        case Invalid():
            return Outcome.INVALID
        case Permanent():
            return Outcome.PERMANENT
        case Transient():
            return Outcome.TRANSIENT
        case Unanswered():
            return Outcome.UNKNOWN
        case _:
            return Outcome.UNKNOWN if marked else Outcome.TRANSIENT
