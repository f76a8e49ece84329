"""A server that hangs is asked by one thread; a refusal is an answer."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from jobs import outage as module
from jobs.outage import Outage
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("no_thread_stays")


class Moody:
    """A server that hangs until it is told to answer, or to refuse."""

    def __init__(self) -> None:
        self.asked = 0
        self.asked_by: set[str] = set()
        self.may_answer = threading.Event()
        self.refuses = False

    def ask(self) -> None:
        self.asked += 1
        self.asked_by.add(threading.current_thread().name)
        if not self.may_answer.wait(0.02):
            raise TimeoutError
        if self.refuses:
            raise ConnectionRefusedError


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.005)
    server = Moody()
    yield server
    server.may_answer.set()


@pytest.mark.parametrize("refuses", [False, True])
def test_one_thread_asks_until_any_answer_comes(server, refuses):
    server.refuses = refuses
    outage = Outage("server", server.ask)

    with capture_logs() as logs:
        for _ in range(5):
            outage.begin()
        until(lambda: server.asked > 3)
        assert outage.is_on

        server.may_answer.set()
        until(lambda: not outage.is_on)

    assert server.asked_by == {"outage-server"}
    assert [line["event"] for line in logs] == ["server_hangs", "server_answers"]


def test_what_fails_only_after_a_wait_begins_one_and_what_fails_at_once_does_not(server):
    outage = Outage("server", server.ask)

    with pytest.raises(ConnectionRefusedError), outage.watch():
        raise ConnectionRefusedError
    assert not outage.is_on

    with pytest.raises(TimeoutError), outage.watch():
        server.ask()
    assert outage.is_on


def test_what_takes_long_and_succeeds_is_none(server):
    outage = Outage("server", server.ask)

    with outage.watch():
        server.may_answer.wait(0.02)

    assert not outage.is_on
    assert server.asked == 0


def test_a_suspicion_is_asked_about_before_it_is_believed(server):
    outage = Outage("server", server.ask)

    outage.suspect()

    until(lambda: outage.is_on)
    assert server.asked >= 1


def test_a_server_that_has_just_answered_is_not_asked_again_for_each_suspicion(server):
    server.may_answer.set()
    outage = Outage("server", server.ask)

    outage.suspect()
    until(lambda: server.asked and not outage._is_asking)
    for _ in range(5):
        outage.suspect()

    assert server.asked == 1
    assert not outage.is_on


def test_after_one_outage_comes_the_next(server):
    outage = Outage("server", server.ask)
    outage.begin()
    server.may_answer.set()
    until(lambda: not outage.is_on)

    server.may_answer.clear()
    outage.begin()

    asked = server.asked
    until(lambda: server.asked > asked)
    assert outage.is_on
