"""Slots: no more trips than there is room for, and every claim in hand is known."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jobs.claims import Claim
from jobs.states import Lane
from tests.conftest import until
from workers import slots as module
from workers.slots import Slots

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def claims(*tokens: int) -> list[Claim]:
    return [
        Claim(
            job_id=uuid4(),
            token=token,
            dedupe_hash=token.to_bytes(16),
            type="email",
            payload={},
            attempt=1,
            max_attempts=5,
            priority="default",
            provider=None,
            correlation_id="c-1",
            claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
        )
        for token in tokens
    ]


class Waiting(threading.Thread):
    """Somebody who waits for a free slot; `free` is what they were told."""

    def __init__(self, slots: Slots, *, timeout: float) -> None:
        super().__init__(name="waiting")
        self.slots = slots
        self.timeout = timeout
        self.free: int | None = None
        self.start()
        until(lambda: slots._changed._waiters)  # it really waits

    def run(self) -> None:
        self.free = self.slots.wait_free(timeout=self.timeout)

    def told(self) -> int | None:
        self.join(timeout=5)
        return self.free


def test_what_is_held_is_known_until_it_is_over():
    slots = Slots(10)

    slots.hold(claims(1, 2, 3))
    slots.free([2])

    assert slots.tokens() == {1, 3}
    assert len(slots) == 2
    assert slots.wait_free(timeout=0) == 8


def test_a_trip_is_over_once():
    slots = Slots(10)
    slots.hold(claims(1, 2))

    slots.free([1, 1])
    slots.free([1, 99])

    assert slots.completed == 1


def test_a_full_worker_waits_for_a_slot():
    slots = Slots(2)
    slots.hold(claims(1, 2))
    waiting = Waiting(slots, timeout=10)

    slots.free([1])

    assert waiting.told() == 1


def test_a_full_worker_does_not_wait_for_ever():
    slots = Slots(1)
    slots.hold(claims(1))

    assert slots.wait_free(timeout=0.01) == 0


def test_slots_that_come_free_one_by_one_are_given_out_by_the_handful(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_PATIENCE_SECONDS", 10)
    slots = Slots(16)
    slots.hold(claims(*range(16)))
    waiting = Waiting(slots, timeout=10)

    for token in range(4):
        assert waiting.is_alive()
        slots.free([token])

    assert waiting.told() == 4


def test_nobody_waits_long_for_a_handful_that_does_not_come():
    slots = Slots(16)
    slots.hold(claims(*range(15)))
    started = time.monotonic()

    assert slots.wait_free(timeout=10) == 1

    assert time.monotonic() - started < 5


@pytest.mark.parametrize("held", [16, 15], ids=["full", "nearly full"])
def test_woken_it_waits_no_longer(monkeypatch, held):
    monkeypatch.setattr(module, "CHUNK_PATIENCE_SECONDS", 10)
    slots = Slots(16)
    slots.hold(claims(*range(held)))
    waiting = Waiting(slots, timeout=10)

    slots.wake()

    assert waiting.told() == 16 - held


def test_many_threads_lose_no_count():
    slots = Slots(1000)

    def work(first: int) -> None:
        for token in range(first, first + 100):
            slots.hold(claims(token))
            slots.free([token])

    threads = [threading.Thread(target=work, args=[n * 100]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(slots), slots.completed) == (0, 800)


def test_lanes_do_not_take_each_others_slots():
    slots = Slots(2, tasks=1)
    slots.hold(claims(1), Lane.TASKS)

    assert slots.wait_free(timeout=0, lane=Lane.TASKS) == 0
    assert slots.wait_free(timeout=0) == 2
    slots.hold(claims(2, 3))
    slots.free([1])

    assert slots.wait_free(timeout=0, lane=Lane.TASKS) == 1
    assert slots.wait_free(timeout=0) == 0
    assert (len(slots), slots.tokens(), slots.completed) == (2, {2, 3}, 1)
