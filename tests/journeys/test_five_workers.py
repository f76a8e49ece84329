"""Whoever waits longest is served first: a steady stream is shared evenly, in both lanes."""

from __future__ import annotations

import pytest
from django.db.models import Count

from jobs.models import Attempt, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORKERS, JOBS = 5, 300
SPREAD = 0.2  # around an equal share


@pytest.fixture
def five(platform):
    platform.env |= {"JOB_APPS": "tests.shop", "WORKER_HANDS": "1"}
    for _ in range(WORKERS):
        platform.start_worker()
    platform.until(lambda: Worker.objects.filter(state="available").count() == WORKERS, within=60.0)
    return platform


def shares(platform, jobs: int) -> list[int]:
    """How many jobs each worker did."""
    platform.until(lambda: Attempt.objects.count() == jobs, within=120.0)
    return sorted(row["n"] for row in Attempt.objects.values("worker").annotate(n=Count("id")))


def test_a_steady_stream_of_emails_is_shared_evenly(five, smtp):
    for number in range(JOBS):
        five.accept(f"ann{number}@example.com")

    found = shares(five, JOBS)

    assert len(found) == WORKERS
    assert all(abs(share - JOBS / WORKERS) <= SPREAD * JOBS / WORKERS for share in found), found
    assert len(smtp.accepted) == JOBS
