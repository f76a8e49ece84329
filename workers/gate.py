"""The gate: SETNX in Redis saves work (L1), the UNIQUE row in PostgreSQL decides (L2). §4.4"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from jobs import omissions, queue, transitions
from jobs.claims import Claim
from jobs.conf import tunables
from jobs.metrics import DUPLICATES, JOBS_PROCESSED, SUPPRESSED
from jobs.states import Status
from workers import reports

log = structlog.get_logger(__name__)


def admit(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that may send, those with suppressed recipients to the others; the rest has been settled, held or put
    back.

    Raises django.db's errors when PostgreSQL is away: then nothing is sent (I6).
    """
    said_sent = queue.ask_gate(claims)
    standing = transitions.pass_gate(claims, said_sent=said_sent, wait_seconds=tunables().put_back_seconds)
    by_token = {claim.token: claim for claim in claims}
    for token in standing.duplicates:
        _tell_duplicate(by_token[token], tier="l1" if token in said_sent else "l2")
    for token in standing.held:
        log.info("job_held", about=by_token[token])
    for token in standing.put_back:
        log.info("job_put_back", about=by_token[token])
    admitted = [by_token[token] for token in standing.admitted]
    if standing.suppressed:
        admitted += _leave_out([by_token[token] for token in standing.suppressed])
    return admitted


def _leave_out(claims: Sequence[Claim]) -> list[Claim]:
    """Those that may send to the others of their recipients."""
    found = omissions.leave_out(claims, wait_seconds=tunables().put_back_seconds)
    for omitted in found.omitted:
        SUPPRESSED.labels(reason=omitted.reason.value).inc()
    for claim in found.admitted:
        log.info("recipients_left_out", left_out=len(claim.suppressed), about=claim)
    for ending, status in found.ended:
        reports.settled(ending, status)
    return found.admitted


def _tell_duplicate(claim: Claim, *, tier: str) -> None:
    DUPLICATES.labels(tier=tier).inc()
    JOBS_PROCESSED.labels(status=Status.COMPLETED, type=claim.type).inc()
    log.info("duplicate_suppressed", tier=tier, about=claim)
