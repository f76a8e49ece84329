"""Adopting journals: what a dead worker of this machine had been answered is settled in its name.

It is a late answer like any other: it closes an unknown, moves a job that still runs under that claim, or changes
nothing where somebody decided meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from jobs import queue, transitions
from jobs.database import is_away, is_refused
from jobs.metrics import JOBS_PROCESSED
from jobs.settlements import Settlement
from jobs.states import Outcome, Status
from workers import journal

log = structlog.get_logger(__name__)


class NotSettled(Exception):
    """PostgreSQL could not take some of these answers, though it answers; the others are settled."""


class Heir:
    """Adopts the journals of one folder. One that cannot be adopted is told of once, left for another process, and
    stands in nobody's way: what is in it is an unknown, as it would be without a journal."""

    def __init__(self, folder: Path, *, tick: Callable[[], None]) -> None:
        self._folder = folder
        self._tick = tick  # a sign of life between two transactions
        self._given_up: set[Path] = set()

    def adopt(self) -> None:
        """Settle what nobody else will. Raises django.db's errors when PostgreSQL is away: then the journals stay."""
        for path in journal.journals(self._folder):
            if path in self._given_up:
                continue
            try:
                journal.adopt(path, self._settle_known)
            except (OSError, NotSettled) as error:
                log.error("journal_not_adopted", path=str(path), error=str(error))
                self._given_up.add(path)

    def _settle_known(self, answers: Sequence[Settlement]) -> None:
        known = transitions.adoptable(answers)
        if failed := self._settle([answer for answer in answers if answer.claim.token in known]):
            raise NotSettled(f"{failed} answers could not be settled.")

    def _settle(self, answers: Sequence[Settlement]) -> int:
        """How many failed for now. One that PostgreSQL will not take must not take the others with it."""
        self._tick()
        try:
            moved = transitions.settle(answers) if answers else {}
        except Exception as error:
            if is_away(error):
                raise
            if len(answers) > 1:
                middle = len(answers) // 2
                return self._settle(answers[:middle]) + self._settle(answers[middle:])
            log.error("row_refused", job_id=str(answers[0].claim.job_id), request="adoption", exc_info=error)
            return int(not is_refused(error))
        _tell(answers, moved)
        return 0


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
