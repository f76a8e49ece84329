"""The heartbeat: it depends on nobody, and does not outlive the work of those it speaks for."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from jobs.conf import tunables
from jobs.models import Worker
from tests.conftest import until
from tests.jobs.transitions import builders as build
from workers.heartbeat import Heartbeat
from workers.pulse import Part, Pulse
from workers.slots import Slots

ME = build.WORKER


class RunningHeartbeat(Heartbeat):
    def __init__(self, **conf: float) -> None:
        self.pulse, self.slots = Pulse(), Slots(4)
        super().__init__(worker=ME, slots=self.slots, pulse=self.pulse, conf=replace(tunables(), **conf))
        self.thread = threading.Thread(target=self.run, name="heartbeat")

    def start(self) -> None:
        self.thread.start()

    def finish(self, *, holds_nothing: bool = True) -> None:
        self.stop(holds_nothing=holds_nothing)
        self.thread.join(timeout=5)
        assert not self.thread.is_alive()


@pytest.fixture
def a_heartbeat(no_thread_stays, committed, monkeypatch):
    monkeypatch.setattr("workers.heartbeat.RETRY_SECONDS", 0.02)
    made = []

    def make(**conf):
        made.append(RunningHeartbeat(**{"heartbeat_seconds": 0.02, "lease_seconds": 30.0} | conf))
        return made[-1]

    yield make
    for heartbeat in made:
        heartbeat.stop(holds_nothing=True)


def row() -> Worker | None:
    return Worker.objects.filter(pk=ME).first()


def test_the_first_beat_does_not_wait_and_the_next_ones_follow(a_heartbeat):
    patient = a_heartbeat(heartbeat_seconds=1000.0)
    patient.start()
    first = until(row)
    patient.finish(holds_nothing=False)

    lively = a_heartbeat()
    lively.start()

    until(lambda: row().beat_at > first.beat_at)
    assert row().started_at == first.started_at


def test_its_row_says_what_the_worker_does(a_heartbeat):
    heartbeat = a_heartbeat()
    claims = [build.claimed() for _ in range(3)]

    heartbeat.beat()
    idle = row()
    heartbeat.slots.hold(claims)
    heartbeat.slots.free([claims[0].token])
    heartbeat.beat()
    busy = row()
    heartbeat.is_draining = True
    heartbeat.beat()

    assert (idle.state, idle.in_flight, idle.completed) == ("available", 0, 0)
    assert (busy.state, busy.in_flight, busy.completed) == ("busy", 2, 1)
    assert (row().state, row().in_flight) == ("unavailable", 2)
    assert ":" in row().name


def test_while_a_part_is_silent_no_beat_is_sent_so_that_its_jobs_are_rescued(a_heartbeat):
    heartbeat = a_heartbeat(lease_seconds=30.0)
    heartbeat.pulse.tick("loop")
    heartbeat.pulse._parts["taker"] = Part(name="taker", ticked_at=time.monotonic() - 16.0)  # more than half a lease

    with capture_logs() as logs:
        heartbeat.start()
        until(lambda: len(logs) >= 3)
    assert row() is None
    assert logs[0] == {"event": "heartbeat_withheld", "silent": ["taker"], "log_level": "error"}

    heartbeat.pulse.tick("taker")
    until(row)


def test_less_than_half_a_lease_is_no_silence(a_heartbeat):
    heartbeat = a_heartbeat(lease_seconds=30.0)
    heartbeat.pulse._parts["taker"] = Part(name="taker", ticked_at=time.monotonic() - 13.0)

    heartbeat.start()

    until(row)


@pytest.mark.parametrize("holds_nothing", [True, False])
def test_its_row_goes_only_when_nothing_is_held(a_heartbeat, holds_nothing):
    heartbeat = a_heartbeat()
    heartbeat.start()
    until(row)

    heartbeat.finish(holds_nothing=holds_nothing)

    assert (row() is None) == holds_nothing


def test_stop_does_not_wait_for_the_next_beat(a_heartbeat):
    heartbeat = a_heartbeat(heartbeat_seconds=1000.0)
    heartbeat.start()
    until(row)

    heartbeat.finish()


def test_it_beats_again_when_postgres_is_back(a_heartbeat, postgres):
    heartbeat = a_heartbeat()
    heartbeat.start()
    before = until(row).beat_at
    postgres.go_away()

    with capture_logs() as logs:
        until(lambda: logs)
    postgres.come_back()

    assert logs[0] == {"event": "heartbeat_failed", "error": "OperationalError", "log_level": "warning"}
    until(lambda: row().beat_at > before)


def test_without_postgres_it_ends_all_the_same(a_heartbeat, postgres):
    heartbeat = a_heartbeat()
    heartbeat.start()
    until(row)
    postgres.go_away()

    with capture_logs() as logs:
        heartbeat.finish(holds_nothing=True)

    assert "leave_failed" in [line["event"] for line in logs]
    postgres.come_back()
    assert row() is not None, "the rescuer and the pruner know what to do with it"
