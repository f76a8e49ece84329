"""A job that kills its worker is set aside; those that were in the same hands are sent."""

from __future__ import annotations

import signal

import pytest

from jobs.models import DeadLetter, Job
from jobs.states import FINAL
from scheduler.embedded.child import Child
from tests.journeys.poisoned_worker import POISON

pytestmark = pytest.mark.slow

MATES = 12
DEATHS = 3  # the default of POISON_DEATHS


def keep_a_worker_running(platform, start, condition) -> list[Child]:
    """Start a worker whenever there is none, until the condition holds: all that died meanwhile."""
    workers = [start()]

    def is_met() -> bool:
        if workers[-1].returncode == -signal.SIGKILL:
            workers.append(start())
        return condition()

    platform.until(is_met, within=90.0)
    return [worker for worker in workers if worker.returncode is not None]


def a_poisonable_worker(platform) -> Child:
    return platform._start("worker", "-m", "tests.journeys.poisoned_worker")


def test_a_job_that_kills_its_worker_is_set_aside_and_the_others_of_its_batch_are_sent(platform, smtp):
    platform.shorten_lease()
    mates = platform.accept_many(MATES // 2)
    poison = platform.accept_body(
        {"type": "email", "payload": {"to": "ann@example.com", "subject": POISON, "text": "Hello."}}
    )
    mates += platform.accept_many(MATES - MATES // 2)
    platform.start_scheduler()

    died = keep_a_worker_running(
        platform,
        lambda: a_poisonable_worker(platform),
        lambda: not Job.objects.exclude(status__in=FINAL).exists(),
    )

    assert len(died) == DEATHS
    assert DeadLetter.objects.get().reason == "worker_lost"
    assert platform.job(poison).status == "failed"
    assert platform.outcomes(poison) == ["lost"] * DEATHS
    assert {platform.job(mate).status for mate in mates} == {"completed"}
    assert all(platform.outcomes(mate) in (["sent"], ["lost", "sent"]) for mate in mates), (
        "in hand at one death at most"
    )
    assert len(smtp.accepted) == MATES
    platform.assert_books_balance()
