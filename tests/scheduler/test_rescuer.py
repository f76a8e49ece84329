"""The rescuer: nobody is declared dead who was not silent for a whole lease before its own eyes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs import queue
from jobs.conf import tunables
from jobs.models import Job, Worker
from scheduler.loops import rescuer as module
from scheduler.loops.rescuer import Rescuer
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell")

NOTHING = {"queued": 0, "unknown": 0, "dead": 0}


@pytest.fixture
def rescuer():
    return Rescuer(replace(tunables(), lease_seconds=4.0, poison_deaths=3))


def look_on(rescuer, begin, end):
    """Look once a second; the counts of all looks together."""
    counts = [rescuer.run_once(begin + second) for second in range(int(end - begin))] + [rescuer.run_once(end)]
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def beaten_last(seconds_ago: float, worker=build.WORKER) -> None:
    build.beat(worker)
    Worker.objects.filter(pk=worker).update(beat_at=build.ago(seconds_ago))


def test_a_silent_worker_loses_its_jobs_after_a_whole_lease_and_not_before(rescuer, moved):
    unmarked, marked, ungated = build.gated(), build.marked(), build.claimed()
    beaten_last(1000)

    assert look_on(rescuer, 100.0, 103.9) == NOTHING
    assert rescuer.run_once(104.0) == {"queued": 2, "unknown": 1, "dead": 0}

    assert build.where(unmarked) == ("queued", "released")
    assert build.where(ungated) == ("queued", None)
    assert build.where(marked) == ("unknown", "unknown")
    assert set(queue.head("default", limit=10)) == {unmarked.job_id, ungated.job_id}
    assert moved("lease_timeouts_total") == 3
    assert moved("send_unknown_total") == 1
    assert rescuer.run_once(104.5) == NOTHING


def test_after_an_outage_of_postgres_nobody_is_taken_for_dead(rescuer):
    """Every heartbeat is old then, and every worker lives (trace 7). The rescuer could not look for a minute, and
    looks again before the worker beats again."""
    claim = build.gated()
    beaten_last(1000)
    rescuer.run_once(100.0)

    assert rescuer.run_once(160.0) == NOTHING
    build.beat()
    assert rescuer.run_once(163.0) == NOTHING

    assert build.where(claim) == ("running", "claimed")


def test_a_worker_that_stays_silent_after_an_outage_is_rescued_once_it_was_seen_silent_for_a_lease(rescuer):
    """Three seconds before the outage, one after it."""
    claim = build.gated()
    beaten_last(1000)
    look_on(rescuer, 100.0, 103.0)

    assert [rescuer.run_once(160.0 + second)["queued"] for second in range(2)] == [0, 1]

    assert build.where(claim) == ("queued", "released")


def test_a_postgres_that_comes_and_goes_lets_nobody_die(rescuer):
    """It is up for a moment every few seconds, and the worker's beats miss these moments."""
    claim = build.gated()
    beaten_last(1000)

    assert [rescuer.run_once(100.0 + 3.0 * window) for window in range(20)] == [NOTHING] * 20

    assert build.where(claim) == ("running", "claimed")


def test_a_rescuer_that_was_away_itself_looks_again_for_a_whole_lease():
    build.gated()
    beaten_last(1000)

    fresh = Rescuer(replace(tunables(), lease_seconds=30.0))

    assert fresh.run_once(5000.0) == NOTHING


def test_one_that_beats_while_the_rescuer_looks_away_is_spared_by_postgres(rescuer, monkeypatch):
    claim = build.gated()
    beaten_last(1000)
    look_on(rescuer, 100.0, 103.0)
    dead = rescuer._dead

    def dead_but_not_quite(now):
        found = dead(now)
        build.beat()  # between the look and the rescue
        return found

    monkeypatch.setattr(rescuer, "_dead", dead_but_not_quite)

    assert rescuer.run_once(104.5) == NOTHING
    assert build.where(claim) == ("running", "claimed")


def test_a_worker_whose_row_is_gone_is_seen_by_what_it_holds(rescuer):
    """By level, not by edge: it claimed after it was declared dead, and was killed (trace 7)."""
    claim = build.gated()

    look_on(rescuer, 100.0, 104.0)

    assert build.where(claim) == ("queued", "released")


def test_a_dead_worker_that_claims_again_is_rescued_from_again(rescuer):
    build.gated()
    look_on(rescuer, 100.0, 104.0)
    again = build.gated()

    assert rescuer.run_once(104.5)["queued"] == 1, "it is as silent as before"
    assert build.where(again) == ("queued", "released")


def test_only_the_silent_lose_their_jobs(rescuer):
    dead, living = build.gated(), build.gated(worker=build.OTHER_WORKER)
    beaten_last(1000)
    build.beat(build.OTHER_WORKER)
    rescuer.run_once(100.0)
    build.beat(build.OTHER_WORKER)

    look_on(rescuer, 101.0, 104.0)

    assert build.where(dead) == ("queued", "released")
    assert build.where(living) == ("running", "claimed")


def test_a_job_that_takes_worker_after_worker_down_is_set_aside(rescuer):
    job_id = build.a_job()
    for death in range(3):
        build.gated(build.claimed(job_id))
        counts = look_on(rescuer, death * 100.0, death * 100.0 + 4.0)

    assert counts == {"queued": 0, "unknown": 0, "dead": 1}
    assert build.where(job_id) == ("failed", "released")
    assert build.facts(job_id).letters == [("worker_lost", None)]


def test_a_large_estate_is_divided_in_one_round(rescuer, monkeypatch, moved):
    monkeypatch.setattr(module, "BATCH", 2)
    for _ in range(5):
        build.gated()

    assert look_on(rescuer, 100.0, 104.0)["queued"] == 5
    assert moved("lease_timeouts_total") == 5
    assert not Job.objects.filter(status="running").exists()
