"""Who comes while others are served is served with the next group; and whatever happens, nobody is left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from jobs import front_desk
from jobs.front_desk import Deserted, FrontDesk
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("no_thread_stays")

FIRST = 0  # who comes first, and is served until the test lets go


class Clerk:
    """Answers each with ten times the wish; what it wrote down are the groups. Some wishes are too much for it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.let_go = Event()
        self.failures: dict[int, BaseException] = {}

    def serve(self, wishes: Sequence[int]) -> list[int]:
        self.groups.append(list(wishes))
        if FIRST in wishes:
            assert self.let_go.wait(20)
        for wish in wishes:
            if wish in self.failures:
                raise self.failures[wish]
        return [wish * 10 for wish in wishes]


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def queued(pool: ThreadPoolExecutor, desk: FrontDesk[int, int], clerk: Clerk, *wishes: int) -> list[Future[Any]]:
    """FIRST is being served, and these wait in this order."""
    asked = [pool.submit(desk.ask, FIRST)]
    until(lambda: clerk.groups)
    for number, wish in enumerate(wishes, 1):
        asked.append(pool.submit(desk.ask, wish))
        until(lambda number=number: len(desk._waiting) == number)
    return asked


def test_who_comes_alone_waits_for_nobody(clerk):
    desk = FrontDesk(clerk.serve, most=9)

    assert [desk.ask(wish) for wish in (1, 2)] == [10, 20]
    assert clerk.groups == [[1], [2]]


def test_who_comes_meanwhile_is_served_together_and_each_gets_his_own_answer(clerk, pool):
    asked = queued(pool, FrontDesk(clerk.serve, most=9), clerk, 1, 2, 3)

    clerk.let_go.set()

    assert [future.result(10) for future in asked] == [0, 10, 20, 30]
    assert clerk.groups == [[FIRST], [1, 2, 3]]


def test_no_group_is_larger_than_most(clerk, pool):
    asked = queued(pool, FrontDesk(clerk.serve, most=2), clerk, 1, 2, 3, 4, 5)

    clerk.let_go.set()

    assert [future.result(10) for future in asked] == [0, 10, 20, 30, 40, 50]
    assert clerk.groups[1:] == [[1, 2], [3, 4], [5]]


def test_what_goes_wrong_is_told_to_the_whole_group_and_to_nobody_else(clerk, pool):
    desk = FrontDesk(clerk.serve, most=2)
    clerk.failures[2] = ValueError("too much")
    asked = queued(pool, desk, clerk, 1, 2, 3)

    clerk.let_go.set()

    assert [type(future.exception(10)) for future in asked] == [type(None), ValueError, ValueError, type(None)]
    assert desk.ask(4) == 40


@pytest.mark.parametrize("blow", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_leader_that_dies_takes_the_lead_of_nobody_with_it(clerk, pool, blow):
    desk = FrontDesk(clerk.serve, most=2)
    clerk.failures[1] = blow()
    asked = queued(pool, desk, clerk, 1, 2, 3)

    clerk.let_go.set()

    assert [type(future.exception(10)) for future in asked] == [type(None), blow, Deserted, type(None)]
    assert desk.ask(4) == 40


def test_too_few_answers_are_no_answers(pool, clerk):
    desk: FrontDesk[int, int] = FrontDesk(lambda wishes: clerk.serve(wishes)[:1], most=9)
    asked = queued(pool, desk, clerk, 1, 2)

    clerk.let_go.set()

    assert [type(future.exception(10)) for future in asked] == [type(None), ValueError, ValueError]


class Startled:
    """A lock whose owner is interrupted when it begins to wait, or when it has been called already."""

    def __init__(self, make: Callable[[], Any], *, once_called: bool) -> None:
        self._lock, self._once_called = make(), once_called
        self._is_new = True

    def acquire(self) -> bool:
        if self._is_new:
            self._is_new = False
            return bool(self._lock.acquire())
        if self._once_called:
            self._lock.acquire()
        raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()


@pytest.mark.parametrize("once_called", [True, False])
def test_who_is_interrupted_while_waiting_goes_and_the_others_are_served(clerk, pool, monkeypatch, once_called):
    desk = FrontDesk(clerk.serve, most=9)
    asked = queued(pool, desk, clerk)
    make = front_desk.Lock
    with monkeypatch.context() as patch:
        patch.setattr(front_desk, "Lock", lambda: Startled(make, once_called=once_called))
        asked.append(pool.submit(desk.ask, 1))
        until(lambda: len(desk._waiting) == 1 if once_called else asked[1].done())
    asked.append(pool.submit(desk.ask, 2))
    until(lambda: 2 in [turn.wish for turn in desk._waiting])

    clerk.let_go.set()

    assert [type(future.exception(10)) for future in asked] == [type(None), KeyboardInterrupt, type(None)]
    assert clerk.groups == [[FIRST], [2]]


@pytest.mark.slow
def test_a_crowd_is_served_to_the_last_one():
    """Threads that come again and again, in a race for the lead; each wish is served once."""
    served: list[int] = []
    desk: FrontDesk[int, int] = FrontDesk(lambda wishes: served.extend(wishes) or list(wishes), most=3)

    def ask(start: int) -> list[int]:
        return [desk.ask(wish) for wish in range(start, start + 500)]

    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(ask, range(0, 8000, 500)))

    assert [answer for each in answers for answer in each] == list(range(8000))
    assert sorted(served) == list(range(8000))
