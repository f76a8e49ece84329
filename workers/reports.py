"""What is told of a trip that is written down: metrics, and a line in the log."""

from __future__ import annotations

from functools import cache

import structlog

from jobs.claims import Claim
from jobs.errors import Postponed
from jobs.metrics import (
    FAILOVERS,
    JOB_DURATION,
    JOB_FAILURES,
    JOB_RETRIES,
    JOBS_POSTPONED,
    JOBS_PROCESSED,
    JOBS_RETRIED,
    SEND_UNKNOWN,
)
from jobs.settlements import Settlement
from jobs.states import FINAL, Outcome, Status

log = structlog.get_logger(__name__)

_processed = cache(lambda status, kind: JOBS_PROCESSED.labels(status=status.value, type=kind))  # `labels` is slow
_duration = cache(lambda kind: JOB_DURATION.labels(type=kind))


def settled(settlement: Settlement, status: Status | None) -> None:
    """`status` is the job's new one, or None when it was not ours any more."""
    claim = settlement.claim
    if settlement.outcome is not Outcome.SENT:
        reason = settlement.kind or "error"
        JOB_FAILURES.labels(reason=reason).inc()
        if status is Status.SCHEDULED:
            JOBS_RETRIED.labels(reason=reason).inc()
    if settlement.outcome is Outcome.UNKNOWN:
        SEND_UNKNOWN.inc()
    if status is not None:
        _processed(status, claim.type).inc()
        _duration(claim.type).observe(settlement.took_seconds)
    if status in FINAL:
        JOB_RETRIES.observe(claim.attempt)
    log.info("job_settled", about=settlement, status=status.value if status else "not_ours")


def passed_on(refusal: Settlement, *, to: str) -> None:
    """One provider provably did not take it, and the next is offered it."""
    FAILOVERS.labels(provider=refusal.provider, to=to).inc()
    log.warning("failed_over", about=refusal, to=to)


def postponed(claim: Claim, why: Postponed) -> None:
    """It waits, and spends no attempt."""
    JOBS_POSTPONED.labels(reason=why.kind).inc()
    log.info("job_postponed", about=claim, reason=why.kind, wait_seconds=round(why.wait_seconds, 1))
