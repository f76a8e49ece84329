"""Adopting journals: what a dead worker of this machine had been answered is settled in its name.

It is a late answer like any other: it closes an unknown, moves a job that still runs under that claim, or changes
nothing where somebody decided meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from jobs import queue, transitions
from jobs.database import is_refused
from jobs.metrics import JOBS_PROCESSED
from jobs.settlements import Settlement
from jobs.states import Outcome, Status
from workers import journal

log = structlog.get_logger(__name__)


def adopt(folder: Path) -> None:
    """Settle what nobody else will. Raises django.db's errors when PostgreSQL is away: then the journals stay."""
    journal.adopt(folder, _settle_all)


def _settle_all(answers: Sequence[Settlement]) -> None:
    try:
        moved = transitions.settle(answers)
    except Exception as error:
        if not is_refused(error):
            raise
        if len(answers) == 1:
            log.error("row_refused", job_id=str(answers[0].claim.job_id), request="adoption", exc_info=error)
            return
        for answer in answers:  # one that PostgreSQL will not take must not take the others with it
            _settle_all([answer])
        return
    _tell(answers, moved)


def _tell(answers: Sequence[Settlement], moved: dict[int, Status]) -> None:
    for answer in answers:
        if status := moved.get(answer.claim.token):
            JOBS_PROCESSED.labels(status=status.value, type=answer.claim.type).inc()
            log.info(
                "answer_adopted",
                job_id=str(answer.claim.job_id),
                correlation_id=answer.claim.correlation_id,
                dead_worker=str(answer.worker),
                outcome=answer.outcome.value,
                status=status.value,
            )
    sent = [a.claim.dedupe_hash for a in answers if a.outcome is Outcome.SENT and a.claim.token in moved]
    queue.remember_sent(sent)
