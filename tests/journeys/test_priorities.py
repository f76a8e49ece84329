"""What is urgent goes first."""

from __future__ import annotations

import pytest

from tests.journeys.books import job_id_of

pytestmark = pytest.mark.slow


def test_high_goes_before_default_and_default_before_low(platform, smtp):
    jobs = {priority: [platform.accept(priority=priority) for _ in range(3)] for priority in ("low", "default", "high")}

    platform.start_worker("--concurrency", "1")
    platform.until_status("completed")

    assert [job_id_of(mail) for mail in smtp.accepted] == [*jobs["high"], *jobs["default"], *jobs["low"]]
    platform.assert_books_balance()


def test_a_worker_for_some_queues_leaves_the_others_alone(platform, smtp):
    low, high = platform.accept(priority="low"), platform.accept(priority="high")

    platform.start_worker("--queues", "high,default")
    platform.until_status("completed", high)
    later = platform.accept(priority="default")
    platform.until_status("completed", later)

    assert platform.job(low).status == "queued"
    platform.assert_books_balance()
