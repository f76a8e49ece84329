"""What one worker process makes of the circuits that all share. Two of them here stand for two workers."""

from __future__ import annotations

import asyncio

import pytest

from jobs import errors, throttles
from jobs.errors import Permanent, Postponed, Transient, Unanswered
from tests.conftest import until
from workers import circuit_breaker
from workers.channels.base import Route
from workers.circuit_breaker import NOBODYS, Circuits

pytestmark = pytest.mark.usefixtures("no_thread_stays", "bell")

MAIN = Route("email", "main")
AWAY = Transient("The server could not be reached.", kind="connect")
BUSY = Transient("Try again later.", kind="smtp_4xx", code=451)


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    """What others found out is heard whenever it is asked for."""
    monkeypatch.setattr(circuit_breaker, "REFRESH_SECONDS", 0.0)


@pytest.fixture
def short(tunables) -> None:
    tunables(circuit_open_seconds=0.2)


def fail(circuits: Circuits, error: errors.DeliveryError = AWAY, *, route: Route = MAIN, marked: bool = False):
    return asyncio.run(circuits.failed(route, error, marked=marked))


def lets_through(circuits: Circuits, route: Route = MAIN) -> bool:
    return asyncio.run(circuits.lets_through(route))


def work(circuits: Circuits, route: Route = MAIN) -> None:
    async def call():
        circuits.worked(route)

    asyncio.run(call())


def opened(circuits: Circuits) -> Circuits:
    assert [fail(circuits) for _ in range(3)] == [AWAY] * 3, "each of these was tried, and spends its attempt"
    assert not lets_through(circuits)
    return circuits


# ── Opening ───────────────────────────────────────────────────────────────────────────────────


def test_three_failures_close_the_way_for_all_workers(moved):
    here, there = Circuits(), Circuits()
    work(there)
    opened(here)

    there.refresh()

    assert not lets_through(there)
    assert moved("circuits_opened_total", channel="email") == 1
    assert moved("provider_circuit_open", provider="main") == 1


def test_who_fails_when_it_has_been_found_out_already_is_postponed():
    here, there = Circuits(), Circuits()
    opened(here)

    late, later = fail(there), fail(here)

    for error in (late, later):
        assert isinstance(error, Postponed)
        assert error.kind == "circuit_open"
        assert error.detail == AWAY.detail
        assert 0 < error.wait_seconds <= 32


def test_calls_that_work_are_heard_of_within_the_next_report():
    here, there = Circuits(), Circuits()
    for _ in range(10):
        work(there)
    there.refresh()

    assert [fail(here) for _ in range(5)] == [AWAY] * 5
    assert lets_through(here)


@pytest.mark.parametrize("error", [BUSY, Permanent("No such user.", kind="smtp_5xx", code=550)])
def test_to_refuse_a_message_is_a_sign_of_life(error):
    circuits = Circuits()

    assert [fail(circuits, error) for _ in range(5)] == [error] * 5
    circuits.refresh()
    assert lets_through(circuits)


def test_silence_after_the_dot_counts_and_is_settled_as_it_is():
    circuits, silence = Circuits(), Unanswered("Nothing came.", kind="timeout")

    assert [fail(circuits, silence, marked=True) for _ in range(3)] == [silence] * 3
    circuits.refresh()
    assert not lets_through(circuits)
    assert fail(circuits, silence, marked=True) is silence


def test_a_clear_answer_to_a_dot_is_never_postponed():
    circuits, closing = opened(Circuits()), Transient("Bye.", kind="smtp_closing", code=421)

    assert fail(circuits, closing, marked=True) is closing


def test_that_the_worker_has_to_stop_is_nobodys_failure():
    circuits, stopped = Circuits(), Unanswered("The worker had to stop.", kind="cancelled")

    assert [fail(circuits, stopped, marked=True) for _ in range(3)] == [stopped] * 3
    circuits.refresh()
    assert lets_through(circuits)


@pytest.mark.parametrize("kind", sorted(NOBODYS))
def test_what_says_nothing_of_the_other_side_closes_no_circuit(short, kind):
    circuits = opened(Circuits())
    until(lambda: lets_through(circuits))
    stopped = Unanswered("We stopped.", kind=kind)

    assert fail(circuits, stopped, marked=True) is stopped
    assert throttles.report({MAIN.key: throttles.Counts()})[MAIN.key].open_seconds is not None


def test_a_worker_that_has_just_come_knows_of_its_providers_circuits():
    opened(Circuits())
    fresh = Circuits(always=[MAIN.key])

    fresh.refresh()

    assert not lets_through(fresh)


def test_each_route_has_its_own():
    circuits = opened(Circuits())

    assert lets_through(circuits, Route("email", "backup"))
    assert lets_through(circuits, Route("webhook", "1:example.org"))


def test_a_handlers_errors_are_its_jobs():
    circuits, handler = Circuits(), Route("task", "handler", may_fail=False)

    assert [fail(circuits, AWAY, route=handler) for _ in range(5)] == [AWAY] * 5
    work(circuits, handler)
    circuits.refresh()
    assert lets_through(circuits, handler)
    assert circuits._calls == {}


def test_hosts_are_not_told_by_name_to_prometheus(moved):
    circuits, host = Circuits(), Route("webhook", "1:example.org")
    for _ in range(3):
        fail(circuits, Transient("It cannot be reached.", kind="unreachable"), route=host)

    assert not lets_through(circuits, host)
    assert moved("circuits_opened_total", channel="webhook") == 1
    assert moved("provider_circuit_open", provider="1:example.org") == 0


# ── Closing ───────────────────────────────────────────────────────────────────────────────────


def test_one_of_all_workers_tries_and_when_it_works_all_may(short):
    here, there = opened(Circuits()), Circuits()
    work(there)
    there.refresh()

    until(lambda: lets_through(here))
    assert not lets_through(here), "the others wait for it"
    assert not lets_through(there)

    work(here)
    until(lambda: lets_through(here))
    there.refresh()
    assert lets_through(there)


def test_a_trial_that_fails_spends_its_attempt_and_the_way_stays_closed(short, monkeypatch):
    circuits = opened(Circuits())
    until(lambda: lets_through(circuits))

    assert fail(circuits) is AWAY
    assert not lets_through(circuits)
    assert isinstance(fail(circuits), Postponed)


def test_a_trial_that_is_refused_a_message_closes_it(short):
    circuits = opened(Circuits())
    until(lambda: lets_through(circuits))

    assert fail(circuits, BUSY) is BUSY
    until(lambda: lets_through(circuits))
    assert fail(circuits) is AWAY


def test_a_call_from_before_that_works_closes_nothing():
    circuits = opened(Circuits())

    async def call():
        circuits.worked(MAIN)
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(call())
    circuits.refresh()
    assert not lets_through(circuits)


def test_those_that_wait_do_not_come_back_all_at_once(monkeypatch):
    circuits = opened(Circuits())
    monkeypatch.setattr("random.random", lambda: 0.999)

    first, *_, last = [circuits.postponed(MAIN).wait_seconds for _ in range(5000)]

    assert first == pytest.approx(31, abs=1.5)
    assert last == pytest.approx(40, abs=1.5), "500 a second"
    for _ in range(20_000):
        last = circuits.postponed(MAIN).wait_seconds
    assert last == pytest.approx(60, abs=1.5), "but before long"


# ── What it costs, and Redis ──────────────────────────────────────────────────────────────────


def test_a_message_that_goes_well_asks_nobody(monkeypatch):
    circuits = Circuits()
    monkeypatch.setattr(throttles, "report", None)
    monkeypatch.setattr(throttles, "may_try", None)

    async def call():
        assert await circuits.lets_through(MAIN)
        circuits.worked(MAIN)

    asyncio.run(call())


def test_redis_is_asked_once_a_second_and_only_if_there_is_something(monkeypatch):
    monkeypatch.setattr(circuit_breaker, "REFRESH_SECONDS", 1000.0)
    asked, report = [], throttles.report
    monkeypatch.setattr(throttles, "report", lambda calls: asked.append(calls) or report(calls))
    circuits = Circuits()
    work(circuits)

    for _ in range(3):
        circuits.refresh()

    assert asked == [{"email:main": (1, 0)}]


def test_who_was_not_called_for_long_is_not_asked_about(monkeypatch):
    asked = []
    monkeypatch.setattr(throttles, "report", lambda calls: asked.append(dict(calls)) or {})
    circuits = Circuits()
    work(circuits)
    circuits.refresh()
    circuits.refresh()
    monkeypatch.setattr(circuit_breaker, "REMEMBERED_SECONDS", 0.0)
    circuits.refresh()

    assert asked == [{"email:main": (1, 0)}, {"email:main": (0, 0)}, {}]


def test_when_redis_has_forgotten_everybody_may_call_again(bell):
    circuits = opened(Circuits())
    bell.flushdb()

    circuits.refresh()

    assert lets_through(circuits)


def test_without_redis_everybody_is_tried(own_redis, short):
    circuits = opened(Circuits())
    own_redis.stop()

    until(lambda: lets_through(circuits))
    assert [fail(circuits) for _ in range(5)] == [AWAY] * 5
