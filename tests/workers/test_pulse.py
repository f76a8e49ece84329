"""Who has fallen silent, and who makes no progress."""

from __future__ import annotations

import pytest
import time_machine

from workers.pulse import Part, Pulse


@pytest.fixture
def clock(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    return clock


# ── Silence ───────────────────────────────────────────────────────────────────────────────────


def test_a_part_that_has_not_ticked_for_so_long_is_silent(clock):
    pulse = Pulse()
    pulse.tick("loop")
    pulse.tick("taker")

    clock[0] += 5
    pulse.tick("loop")
    clock[0] += 5.5

    assert pulse.silent(for_seconds=10) == ["taker"]
    assert pulse.silent(for_seconds=5) == ["loop", "taker"]
    assert pulse.silent(for_seconds=11) == []


@pytest.mark.parametrize("sign", [Pulse.tick, Pulse.progress, lambda pulse, part: pulse.trouble(part, "no answer")])
def test_whatever_a_part_says_it_lives(clock, sign):
    pulse = Pulse()
    pulse.tick("loop")
    clock[0] += 5

    sign(pulse, "loop")

    assert pulse.silent(for_seconds=1) == []


def test_a_part_that_never_ticked_has_not_started_yet():
    assert Pulse(loop=1.0).silent(for_seconds=-1) == []


def test_a_part_that_ended_in_order_is_not_missed_and_comes_back_no_more():
    pulse = Pulse()
    pulse.tick("taker")

    pulse.forget("taker")
    pulse.forget("taker")
    pulse.tick("taker")

    assert pulse.silent(for_seconds=-1) == []
    assert pulse.parts() == []


def test_a_clock_that_is_set_back_silences_nobody():
    with time_machine.travel("2030-01-01", tick=False) as wall:
        pulse = Pulse()
        pulse.tick("loop")
        wall.move_to("2020-01-01")

        assert pulse.silent(for_seconds=1) == []


# ── Progress ──────────────────────────────────────────────────────────────────────────────────


def objection(clock, pulse) -> str:
    (part,) = pulse.parts()
    return part.objection(clock[0])


def test_to_tick_is_no_progress(clock):
    pulse = Pulse(taker=5.0)
    pulse.tick("taker")
    assert objection(clock, pulse) == "no progress yet"

    pulse.progress("taker")
    assert objection(clock, pulse) == ""

    for _ in range(21):
        clock[0] += 1
        pulse.tick("taker")
    assert objection(clock, pulse) == "no progress for 21 s"


def test_it_may_be_late_by_as_much_as_it_is_slow(clock):
    slow, fast = (Part(name="part", every_seconds=seconds, progress_at=clock[0]) for seconds in (60.0, 1.0))

    assert fast.objection(clock[0] + 11.9) == slow.objection(clock[0] + 129.9) == ""
    assert fast.objection(clock[0] + 12.1)
    assert slow.objection(clock[0] + 130.1)


def test_trouble_counts_sooner_and_says_why_until_there_is_progress_again(clock):
    pulse = Pulse(taker=5.0)
    pulse.progress("taker")
    pulse.trouble("taker", "PostgreSQL: OperationalError")
    assert objection(clock, pulse) == "", "one error is not an outage"

    clock[0] += 6
    assert objection(clock, pulse) == "PostgreSQL: OperationalError; no progress for 6 s"

    pulse.progress("taker")
    assert objection(clock, pulse) == ""


def test_trouble_from_the_beginning_is_told_at_once(clock):
    pulse = Pulse(heartbeat=5.0)

    pulse.trouble("heartbeat", "PostgreSQL: OperationalError")

    assert objection(clock, pulse) == "PostgreSQL: OperationalError"
