"""Jobs that recur, with real clocks: of several, some killed, each time is still one mail."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from jobs.models import Job, Schedule
from jobs.schedules import create, read

pytestmark = pytest.mark.slow

BODY = {"cron": "* * * * *", "missed": "all", "type": "email"}
MAIL = {"to": "ann@example.com", "subject": "Figures", "text": "None today."}


def test_schedules_are_mailed_once_for_each_time_though_clocks_are_killed(platform, smtp):
    planned = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
    for number in range(10):
        create(read(BODY | {"name": f"figures {number}", "payload": MAIL}), owner_id=platform.owner.id)
    platform.start_worker()
    clocks = [platform.start_scheduler() for _ in range(3)]
    platform.until(lambda: all(platform.said(clock, "scheduler_started") for clock in clocks))

    Schedule.objects.update(next_at=planned)
    platform.until(lambda: Job.objects.exists())
    for clock in clocks[:2]:
        clock.kill()
    platform.until(lambda: not Schedule.objects.filter(next_at__lte=planned + timedelta(minutes=3)).exists())
    platform.until_status("completed")

    made = Job.objects.values_list("id", "run_at")
    by_time = {at: sum(run_at == at for _, run_at in made) for _, at in made}
    assert len(by_time) >= 4
    assert {count for at, count in by_time.items() if at <= planned + timedelta(minutes=3)} == {10}
    assert {platform.copies(UUID(str(job_id))) for job_id, _ in made} == {1}
    platform.assert_books_balance()
