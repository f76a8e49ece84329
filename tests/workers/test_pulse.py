"""Who has fallen silent."""

from __future__ import annotations

import time_machine

from workers.pulse import Pulse


def test_a_part_that_has_not_ticked_for_so_long_is_silent(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    pulse = Pulse()
    pulse.tick("loop")
    pulse.tick("taker")

    clock[0] += 5
    pulse.tick("loop")
    clock[0] += 5.5

    assert pulse.silent(for_seconds=10) == ["taker"]
    assert pulse.silent(for_seconds=5) == ["loop", "taker"]
    assert pulse.silent(for_seconds=11) == []


def test_a_part_that_never_ticked_has_not_started_yet():
    assert Pulse().silent(for_seconds=-1) == []


def test_a_part_that_ended_in_order_is_not_missed():
    pulse = Pulse()
    pulse.tick("taker")

    pulse.forget("taker")
    pulse.forget("taker")

    assert pulse.silent(for_seconds=-1) == []


def test_a_clock_that_is_set_back_silences_nobody():
    with time_machine.travel("2030-01-01", tick=False) as wall:
        pulse = Pulse()
        pulse.tick("loop")
        wall.move_to("2020-01-01")

        assert pulse.silent(for_seconds=1) == []
