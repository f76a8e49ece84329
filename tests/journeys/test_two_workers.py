"""Workers that share the work do not share a job."""

from __future__ import annotations

import pytest

from jobs import queue
from jobs.claims import Waiting
from jobs.models import Attempt, Job

pytestmark = pytest.mark.slow


def test_one_job_rung_for_again_and_again_is_sent_once(platform, smtp):
    platform.start_worker()
    platform.start_worker()
    platform.until(lambda: len(platform.worker_pids()) == 2)

    job_id = platform.accept()
    for _ in range(100):
        queue.push([Waiting(job_id, "default")])
    platform.until_status("completed")
    platform.until(lambda: queue.depths()["default"] == 0)

    assert len(smtp.accepted) == 1
    assert (platform.job(job_id).attempts, platform.outcomes(job_id)) == (1, ["sent"])
    platform.assert_books_balance()


def test_three_hundred_jobs_over_two_workers_are_sent_once_each(platform, smtp):
    platform.start_worker("--concurrency", "8")
    platform.start_worker("--concurrency", "8")
    platform.until(lambda: len(platform.worker_pids()) == 2)

    jobs = platform.accept_many(300)
    queue.push(Waiting(job_id, "default") for job_id in jobs[::3])
    platform.until_status("completed")

    assert len(smtp.accepted) == 300
    assert Job.objects.filter(attempts=1).count() == 300
    assert Attempt.objects.values("worker").distinct().count() == 2
    platform.assert_books_balance()
