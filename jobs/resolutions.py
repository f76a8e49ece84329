"""Deciding dead letters: the moves that a person makes, or a policy in a person's name.

Writes to state, like transitions.py and under the same rules: guarded statements that name the episode (the claim that
the dead letter tells of), the job locked first, then its delivery.
"""

from __future__ import annotations

from jobs.claims import Waiting
from jobs.database import move
from jobs.errors import NotFound, TooLate
from jobs.sql import run
from jobs.states import Decision, Resolution


@move
def resolve(dead_letter: int, decision: Decision, *, by: int | None, new_budget: bool = True) -> tuple[bytes, Waiting]:
    """Decide an unknown, naming the episode. The key's hash (for L1, once sent) and the job.

    Raises TooLate when somebody, or a late reply, was first.
    """
    _lock_job_of(dead_letter)
    rows = run("decide_delivery", dead_letter=dead_letter, decision=decision.value)
    jobs = run("decide_job", id=rows[0].id, decision=decision.value, new_budget=new_budget) if rows else []
    if not jobs or not run("resolve_dead_letter", dead_letter=dead_letter, resolution=decision.value, by=by):
        raise TooLate("This unknown has been decided, or its answer came after all.")
    return rows[0].dedupe_hash, Waiting(jobs[0].id, jobs[0].priority)


@move
def requeue(dead_letter: int, *, by: int | None) -> Waiting:
    """A dead job gets a new budget. Unknowns and dropped ones only go through `resolve` (trace 11)."""
    _lock_job_of(dead_letter)
    jobs = run("requeue_job", dead_letter=dead_letter)
    if not jobs or not run("resolve_dead_letter", dead_letter=dead_letter, resolution=Resolution.REQUEUED.value, by=by):
        raise TooLate("Only an undecided dead letter can be requeued; an unknown is decided through resolve.")
    return Waiting(jobs[0].id, jobs[0].priority)


@move
def discard(dead_letter: int, *, by: int | None) -> None:
    """Put a dead letter aside for good; its job stays failed."""
    _lock_job_of(dead_letter)
    if not run("discard_dead_letter", dead_letter=dead_letter, by=by):
        raise TooLate("Only an undecided dead letter can be discarded; an unknown is dropped through resolve.")


def _lock_job_of(dead_letter: int) -> None:
    if not run("lock_job_of_dead_letter", dead_letter=dead_letter):
        raise NotFound
