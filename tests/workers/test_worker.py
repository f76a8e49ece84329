"""The whole worker process, but for the process: its threads, its trips and its end."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from jobs import queue, transitions
from jobs.claims import Waiting
from jobs.conf import tunables
from jobs.models import Job, Worker
from jobs.states import Priority
from tests.conftest import until
from tests.jobs.transitions import builders as build
from tests.workers.channels_with_character import CalmChannel, RefusingChannel, SlowChannel
from workers import worker as module
from workers.recorder import Group


class RunningWorker(module.Worker):
    def __init__(self, channel, *, concurrency: int = 10, follow: int | None = None, **conf: float) -> None:
        given = {"drain_seconds": 30.0, "heartbeat_seconds": 0.05}
        super().__init__(
            priorities=list(Priority),
            concurrency=concurrency,
            conf=replace(tunables(), **given | conf),
            channels=lambda: {"email": channel},
        )
        self.channel = channel
        self.code: int | None = None
        self.thread = threading.Thread(target=self._keep_code, args=[follow], name="worker")
        self.thread.start()
        until(lambda: self.row() or self.code is not None)

    def _keep_code(self, follow: int | None) -> None:
        self.code = self.run(follow=follow)

    def row(self) -> Worker | None:
        return Worker.objects.filter(pk=self.id).first()

    def ended(self, *, within: float = 15.0) -> int | None:
        """Its exit code."""
        self.thread.join(timeout=within)
        assert not self.thread.is_alive()
        return self.code

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self.channel.go_on.set)


@pytest.fixture
def a_worker(no_thread_stays, committed, bell, monkeypatch):
    monkeypatch.setattr("workers.recorder.IDLE_SECONDS", 0.02)
    monkeypatch.setattr("workers.taker.LISTEN_SECONDS", 0.1)
    started = []

    def start(channel, **how):
        started.append(RunningWorker(channel, **how))
        return started[-1]

    yield start
    for worker in started:
        if worker.code is None:
            worker.stop()
            worker.stop()
        worker.ended()


def rung(**columns):
    job_id = build.a_job(**columns)
    queue.push([Waiting(job_id, "default")])
    return job_id


# ── At work ───────────────────────────────────────────────────────────────────────────────────


def test_it_tells_of_every_provider_from_the_start(a_worker, tunables):
    tunables(email_providers={"told-of": "smtp://127.0.0.1:1"})

    a_worker(CalmChannel())

    assert REGISTRY.get_sample_value("provider_circuit_open", {"provider": "told-of"}) == 0


def test_it_sends_what_rings_and_leaves_nothing_behind(a_worker):
    channel = CalmChannel()
    worker = a_worker(channel)

    jobs = [rung() for _ in range(20)]
    until(lambda: Job.objects.filter(status="completed").count() == 20)
    worker.stop()

    assert worker.ended() == 0
    assert sorted(channel.outbox) == sorted(jobs)
    assert channel.is_closed
    assert worker.row() is None


def test_no_more_trips_are_under_way_than_it_has_slots(a_worker):
    channel = SlowChannel("offer")
    worker = a_worker(channel, concurrency=3)
    for _ in range(8):
        rung()

    until(lambda: channel.reached == 3)
    until(lambda: worker.row().in_flight == 3)
    assert worker.row().state == "busy"
    assert Job.objects.filter(status="queued").count() == 5
    worker.go_on()

    until(lambda: len(channel.outbox) == 8)


def test_between_two_long_preparations_the_loop_gives_a_sign_of_life(a_worker, monkeypatch):
    monkeypatch.setattr(module, "TURN_SECONDS", 0.0)

    class Laborious(CalmChannel):
        def on_prepare(self):
            (loop,) = (part for part in worker.pulse.parts() if part.name == "loop")
            ticks.add(loop.ticked_at)

    ticks = set()
    worker = a_worker(Laborious())
    jobs = [build.a_job() for _ in range(20)]
    queue.push([Waiting(job_id, "default") for job_id in jobs])
    until(lambda: Job.objects.filter(status="completed").count() == 20)

    assert len(ticks) == 20


def test_a_trip_that_cannot_be_recorded_leaves_the_worker_alive(a_worker, monkeypatch):
    monkeypatch.setattr("workers.taker.SWEEP_SECONDS", 0.05)
    write, refused = Group._write, []

    def refuse_the_first_settlement(group):
        if not refused and any(hasattr(request, "outcome") for request, _ in group.entries):
            refused.append(group)
            raise ValueError("a value that nobody thought of")
        return write(group)

    monkeypatch.setattr(Group, "_write", refuse_the_first_settlement)
    channel = CalmChannel()
    a_worker(channel)

    with capture_logs() as logs:
        first = rung()
        until(lambda: build.where(first) == ("unknown", "unknown"))
    assert "row_refused" in {line["event"] for line in logs}
    second = rung()

    until(lambda: build.where(second) == ("completed", "sent"))


# ── The end ───────────────────────────────────────────────────────────────────────────────────


def test_the_first_stop_lets_trips_end_and_takes_nothing_new(a_worker):
    channel = SlowChannel("dot")
    worker = a_worker(channel)
    under_way = rung()
    until(lambda: channel.reached)

    worker.stop()
    until(lambda: worker.row().state == "unavailable")
    late = rung()
    worker.go_on()

    assert worker.ended() == 0
    assert build.where(under_way) == ("completed", "sent")
    assert build.where(late) == ("queued", None)
    assert worker.row() is None


@pytest.mark.slow
def test_it_is_not_taken_for_dead_while_it_drains(a_worker):
    lease = 1.0
    channel = SlowChannel("dot")
    worker = a_worker(channel, lease_seconds=lease)
    rung()
    until(lambda: channel.reached)
    worker.stop()
    until(lambda: worker.row().state == "unavailable")
    draining_since = worker.row().beat_at

    until(lambda: (worker.row().beat_at - draining_since).total_seconds() > lease)
    worker.go_on()

    assert worker.ended() == 0


def test_what_does_not_end_in_time_is_handed_back(a_worker):
    channel = SlowChannel("offer")
    worker = a_worker(channel, drain_seconds=0.3)
    job_id = rung()
    until(lambda: channel.reached)

    worker.stop()

    assert worker.ended() == 0
    assert build.where(job_id) == ("scheduled", "released")
    assert Job.objects.get(pk=job_id).attempts == 0
    assert worker.row() is None


def test_the_second_stop_waits_for_no_trip(a_worker):
    channel = SlowChannel("dot")
    worker = a_worker(channel, drain_seconds=1000.0)
    job_id = rung()
    until(lambda: channel.reached)

    worker.stop()
    worker.stop()

    assert worker.ended() == 0
    assert build.where(job_id) == ("unknown", "unknown")
    assert channel.outbox == []
    assert worker.row() is None, "nothing is held: the outcome is written down"


def test_what_is_taken_while_the_worker_leaves_goes_back(a_worker, monkeypatch):
    claim, taking, trips_are_over = transitions.claim, threading.Event(), threading.Event()

    def claim_slowly(ids, **how):
        claims = claim(ids, **how)
        taking.set()
        assert trips_are_over.wait(10)
        return claims

    monkeypatch.setattr(transitions, "claim", claim_slowly)
    channel = CalmChannel()
    worker = a_worker(channel)
    job_id = rung()
    assert taking.wait(10)

    worker.stop()
    worker.stop()
    until(lambda: worker._is_closed)
    trips_are_over.set()

    assert worker.ended() == 0
    assert channel.dots == []
    assert build.where(job_id) == ("scheduled", None), "it has not even come to the gate"


def test_what_is_taken_while_other_trips_are_handed_back_sets_out_on_none(a_worker, monkeypatch):
    """The second signal finds one trip in the middle and the taker in a slow claim."""
    claim, slowly, taking, go_on = transitions.claim, threading.Event(), threading.Event(), threading.Event()

    def claim_slowly(ids, **how):
        claims = claim(ids, **how)
        if slowly.is_set():
            taking.set()
            assert go_on.wait(10)
        return claims

    monkeypatch.setattr(transitions, "claim", claim_slowly)
    channel = SlowChannel("offer")
    worker = a_worker(channel)
    first = rung()
    until(lambda: channel.reached)
    slowly.set()
    second = rung()
    assert taking.wait(10)

    worker.stop()
    worker.stop()
    until(lambda: worker._is_closed)
    go_on.set()

    assert worker.ended() == 0
    assert channel.dots == []
    assert channel.reached == 1, "the second never set out"
    assert [build.where(job_id) for job_id in (first, second)] == [("scheduled", "released"), ("scheduled", None)]


def test_it_leaves_although_postgres_is_away_and_keeps_its_row_for_the_rescuer(a_worker, postgres, monkeypatch):
    monkeypatch.setattr(module, "HAND_BACK_SECONDS", 0.2)
    channel = SlowChannel("offer")
    worker = a_worker(channel)
    job_id = rung()
    until(lambda: channel.reached)
    postgres.go_away()

    worker.stop()
    worker.stop()

    assert worker.ended() == 0
    postgres.come_back()
    assert build.where(job_id) == ("running", "claimed")
    assert worker.row() is not None


def test_it_drains_when_its_parent_is_gone(a_worker):
    reading, writing = os.pipe()
    channel = CalmChannel()
    worker = a_worker(channel, follow=reading)

    os.close(writing)

    assert worker.ended() == 0
    os.close(reading)


THREADS = {
    "taker": "workers.taker.Taker._step",
    "recorder": "workers.recorder.Recorder._gather",
    "heartbeat": "workers.heartbeat.Heartbeat._try_to_beat",
}


@pytest.mark.parametrize("step", THREADS.values(), ids=THREADS)
def test_a_thread_that_dies_takes_the_worker_with_it(a_worker, monkeypatch, step):
    channel = CalmChannel()
    worker = a_worker(channel)

    with capture_logs() as logs:
        monkeypatch.setattr(step, lambda self: 1 / 0)

        assert worker.ended() == 1

    died = {line["thread"] for line in logs if line["event"] == "thread_died"}
    assert died == {name for name in THREADS if THREADS[name] == step}
    assert channel.is_closed


def dies_once(monkeypatch, step):
    """This step of a thread fails the next time it is taken, and never again."""
    module_name, cls, name = step.rsplit(".", 2)
    owner = getattr(importlib.import_module(module_name), cls)
    do, died = getattr(owner, name), threading.Event()

    def die_once(self, *args):
        if not died.is_set():
            died.set()
            raise ZeroDivisionError
        return do(self, *args)

    monkeypatch.setattr(owner, name, die_once)
    return died


@pytest.mark.parametrize("step", THREADS.values(), ids=THREADS)
def test_what_was_under_way_when_a_thread_died_comes_to_its_end(a_worker, monkeypatch, step):
    channel = SlowChannel("dot")
    worker = a_worker(channel)
    job_id = rung()
    until(lambda: channel.reached)

    died = dies_once(monkeypatch, step)
    assert died.wait(10)
    until(lambda: worker.row().state == "unavailable")
    worker.go_on()

    assert worker.ended() == 1
    assert build.where(job_id) == ("completed", "sent")
    assert worker.row() is None


@pytest.mark.parametrize("step", THREADS.values(), ids=THREADS)
def test_what_cannot_come_to_its_end_when_a_thread_died_is_handed_back(a_worker, monkeypatch, step):
    channel = SlowChannel("offer")
    worker = a_worker(channel, drain_seconds=0.3)
    job_id = rung()
    until(lambda: channel.reached)

    dies_once(monkeypatch, step)

    assert worker.ended() == 1
    assert build.where(job_id) == ("scheduled", "released")
    assert worker.row() is None


def test_an_outcome_in_the_hands_of_a_recorder_that_dies_is_written_all_the_same(a_worker, monkeypatch):
    channel = SlowChannel("dot")
    worker = a_worker(channel)
    job_id = rung()
    until(lambda: channel.reached)
    dies_once(monkeypatch, "workers.recorder.Group.commit")
    monkeypatch.setattr("workers.recorder.is_refused", lambda error: 1 / 0)  # not even this can be said of it

    worker.go_on()

    assert worker.ended() == 1
    assert build.where(job_id) == ("completed", "sent")


def test_a_mark_in_the_hands_of_a_recorder_that_dies_writes_no_dot(a_worker, monkeypatch):
    channel = SlowChannel("offer")
    worker = a_worker(channel)
    job_id = rung()
    until(lambda: channel.reached)
    dies_once(monkeypatch, "workers.recorder.Recorder._answer")  # after the commit

    worker.go_on()

    assert worker.ended() == 1
    assert channel.dots == []
    assert build.where(job_id) == ("scheduled", "released")


def test_a_loop_that_dies_hands_back_what_the_others_have(a_worker, monkeypatch):
    """A handler that calls sys.exit() ends the loop; which job that was is the rescuer's to find out."""
    channel = SlowChannel("offer")
    worker = a_worker(channel)
    innocent = rung()
    until(lambda: channel.reached)

    monkeypatch.setattr(channel, "on_prepare", sys.exit)
    guilty = rung()

    assert worker.ended() == 1
    assert build.where(innocent) == ("scheduled", "released")
    assert build.where(guilty) == ("running", "claimed")


@pytest.mark.parametrize("error", [RuntimeError("channel"), OSError("reset")])
def test_a_channel_that_breaks_down_is_no_reason_to_stop(a_worker, error):
    channel = RefusingChannel("connect", error)
    worker = a_worker(channel)

    job_id = rung()

    until(lambda: build.where(job_id) == ("scheduled", "released"))
    assert worker.thread.is_alive()
