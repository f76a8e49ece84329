"""The reconciler: what was lost on the way to Redis is pushed once more, and not again and again (trace 18)."""

from __future__ import annotations

import pytest

from jobs import queue, transitions
from jobs.claims import Waiting
from jobs.models import Job
from jobs.states import Lane
from scheduler.loops import reconciler as module
from scheduler.loops.reconciler import Reconciler
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell")


def waiting(seconds: float, priority: str = "default", *, is_in_redis: bool = False):
    """A queued job whose id went (or should have gone) to Redis so long ago."""
    job_id = build.a_job(priority=priority)
    build.set_job(job_id, pushed_at=build.ago(seconds))
    if is_in_redis:
        queue.push([Waiting(job_id, priority)])
    return job_id


def ids(priority: str = "default") -> list:
    """First in, first out."""
    return queue.head(priority, limit=100)[::-1]


def test_with_an_empty_list_whatever_waits_was_lost():
    lost = [waiting(60, priority) for priority in ("high", "default", "low")]

    counts = Reconciler().run_once(0.0)

    assert counts == {"pushed_again": 3}
    assert [ids("high"), ids(), ids("low")] == [[lost[0]], [lost[1]], [lost[2]]]


def test_a_lost_one_is_pushed_once_and_not_on_every_round():
    lost = waiting(60)

    rounds = [Reconciler().run_once(0.0)["pushed_again"] for _ in range(5)]

    assert rounds == [1, 0, 0, 0, 0]
    assert ids() == [lost]


def test_a_lost_one_behind_a_backlog_is_pushed_once_although_it_waits_long():
    lost = waiting(90)
    backlog = [waiting(60, is_in_redis=True) for _ in range(20)]

    rounds = [Reconciler().run_once(0.0)["pushed_again"] for _ in range(3)]

    assert rounds == [1, 0, 0]
    assert ids() == [*backlog, lost]


def test_behind_a_head_of_stale_ids_nothing_is_pushed_again_and_again():
    stale = [waiting(60, is_in_redis=True) for _ in range(module.HEAD)]
    for job_id in stale:
        transitions.cancel(job_id, owner_id=Job.objects.get(pk=job_id).owner_id)
    backlog = [waiting(30, is_in_redis=True) for _ in range(3)]

    rounds = [Reconciler().run_once(0.0)["pushed_again"] for _ in range(3)]

    assert rounds == [0, 0, 0]
    assert ids() == [*stale, *backlog]


def test_what_waits_in_its_list_is_left_alone_however_long():
    backlog = [waiting(3600 - n, is_in_redis=True) for n in range(20)]

    assert Reconciler().run_once(0.0) == {"pushed_again": 0}
    assert ids() == backlog


def test_what_is_just_on_its_way_is_left_alone():
    waiting(0)
    waiting(module.GRACE_SECONDS - 1)

    assert Reconciler().run_once(0.0) == {"pushed_again": 0}


def test_only_what_waits_is_pushed():
    for build_one in (build.claimed, build.gated, build.marked, build.sent, build.failed, build.unknown):
        build.set_job(build_one(), pushed_at=build.ago(60))
    build.a_job(delay_seconds=60)

    assert Reconciler().run_once(0.0) == {"pushed_again": 0}


def test_stale_ids_at_the_head_hide_no_loss():
    claimed = build.claimed()
    build.set_job(claimed, pushed_at=build.ago(3600))
    queue.push([Waiting(claimed.job_id, "default")])
    in_list, lost = waiting(30, is_in_redis=True), waiting(60)

    assert Reconciler().run_once(0.0) == {"pushed_again": 1}
    assert ids() == [claimed.job_id, in_list, lost]


def test_a_redis_that_starts_empty_again_is_filled_in_bounded_steps(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    oldest, older, newest = (waiting(seconds) for seconds in (90, 80, 70))

    assert Reconciler().run_once(0.0) == {"pushed_again": 2}
    assert set(ids()) == {oldest, older}
    assert Reconciler().run_once(0.0) == {"pushed_again": 1}
    assert newest in ids()


def test_without_redis_nothing_moves(own_redis):
    own_redis.kill()
    lost = waiting(60)
    before = Job.objects.get(pk=lost).pushed_at

    assert Reconciler().run_once(0.0) == {"pushed_again": 0}

    assert Job.objects.get(pk=lost).pushed_at == before, "else it would be found only later"


def test_each_lane_is_mended_by_its_own_list():
    """A list of messages that moves says nothing about lost tasks."""
    task = build.a_job(lane="tasks")
    build.set_job(task, pushed_at=build.ago(60))
    waiting(90, is_in_redis=True)

    counts = Reconciler().run_once(0.0)

    assert counts == {"pushed_again": 1}
    assert queue.head("default", limit=9, lane=Lane.TASKS) == [task]
