"""The promoter: what is due goes on its way."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from jobs import queue
from jobs.models import Job
from scheduler.loops import promoter as module
from scheduler.loops.promoter import Promoter
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell", "no_thread_stays")


def test_what_is_due_is_queued_and_rings_and_the_rest_waits():
    due = [build.a_job(delay_seconds=60, priority=priority) for priority in ("high", "low")]
    for job_id in due:
        build.set_job(job_id, run_at=build.ago(0.1))
    later = build.a_job(delay_seconds=60)

    counts = Promoter().run_once(0.0)

    assert counts == {"promoted": 2}
    assert [build.where(job_id)[0] for job_id in (*due, later)] == ["queued", "queued", "scheduled"]
    assert queue.head("high", limit=10) == [due[0]]
    assert queue.head("low", limit=10) == [due[1]]
    assert Promoter().run_once(0.0) == {"promoted": 0}


def test_a_backlog_is_promoted_in_one_round(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    for _ in range(5):
        build.set_job(build.a_job(delay_seconds=60), run_at=build.ago(1))

    assert Promoter().run_once(0.0) == {"promoted": 5}


def test_without_redis_what_is_due_is_queued_all_the_same(own_redis):
    own_redis.kill()
    job_id = build.a_job(delay_seconds=60)
    build.set_job(job_id, run_at=build.ago(1))

    assert Promoter().run_once(0.0) == {"promoted": 1}

    assert build.where(job_id) == ("queued", None)


def test_two_clocks_promote_each_job_once(monkeypatch, bell):
    monkeypatch.setattr(module, "BATCH", 3)
    for _ in range(30):
        build.a_job(delay_seconds=60)
    Job.objects.update(run_at=build.ago(1))
    promoted = []

    def clock():
        try:
            for _ in range(20):
                promoted.append(Promoter().run_once(0.0)["promoted"])
        finally:
            connection.close()

    threads = [threading.Thread(target=clock) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(promoted) == 30
    assert bell.llen("{sendonce}:queue:default") == 30
