"""The database backend: a server that hangs costs one wait, a slow one is waited for."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from django.db import OperationalError, connections

from jobs.database import is_away
from jobs.postgres import base as module
from scheduler.embedded.child import free_port
from tests.conftest import until
from tests.relay import Relay

pytestmark = [pytest.mark.usefixtures("no_thread_stays"), pytest.mark.django_db]


@pytest.fixture
def relay():
    relay = Relay(int(connections["default"].settings_dict["PORT"]))
    yield relay
    relay.stop()


@pytest.fixture
def database(relay):
    """A connection of its own, through the relay."""
    database = connections["default"].copy()
    database.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(relay.port)}
    with closing(database):
        yield database


def ask(database, question="SELECT pg_backend_pid()"):
    with database.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def outage_of(database):
    return module._outage_of("127.0.0.1", database.settings_dict["PORT"])


@pytest.mark.slow
def test_a_statement_is_not_answered_and_then_nobody_waits_until_the_server_goes_on(database, relay):
    ask(database)
    raw = database.connection
    relay.stall()

    with pytest.raises(OperationalError, match="hangs") as told:
        ask(database)

    assert is_away(told.value)
    assert raw.closed
    database.close()
    accepted = relay.accepted
    for _ in range(100):
        with pytest.raises(OperationalError, match="hangs"):
            ask(database)
    assert outage_of(database).is_on
    assert relay.accepted == accepted, "nobody but the one who asks has tried to connect"

    relay.go_on()
    until(lambda: not outage_of(database).is_on)
    assert ask(database)


@pytest.mark.slow
def test_a_connection_that_is_not_made_is_waited_for_once(database, relay):
    database.settings_dict["OPTIONS"] = {"connect_timeout": 2}
    relay.stall()

    for expected in ("timeout expired", "hangs", "hangs"):
        with pytest.raises(OperationalError, match=expected):
            ask(database)

    relay.go_on()
    until(lambda: not outage_of(database).is_on)
    assert ask(database)


@pytest.mark.slow
def test_a_slow_statement_is_waited_for_when_the_server_answers_others(database, relay, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    pid = ask(database)

    assert ask(database, "SELECT 'slowly' FROM pg_sleep(2.5)") == "slowly"

    assert ask(database) == pid
    assert relay.accepted > 1, "it was asked whether it answers"
    assert not outage_of(database).is_on


def test_a_thread_can_be_told_that_it_waits(database):
    told = threading.Event()
    done = []

    def wait():
        module.while_waiting(told.set)
        done.append(ask(database, "SELECT 1 FROM pg_sleep(0.5)"))
        database.close()

    database.inc_thread_sharing()
    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()

    assert told.is_set()
    assert done == [1]
    told.clear()
    ask(database, "SELECT 1 FROM pg_sleep(0.3)")
    assert not told.is_set(), "another thread"


def test_one_that_refuses_is_asked_by_everybody(database):
    database.settings_dict["PORT"] = str(free_port())

    for _ in range(3):
        with pytest.raises(OperationalError, match="refused"):
            ask(database)

    assert not outage_of(database).is_on


def test_what_the_url_says_wins_and_its_options_come_after_ours(database):
    database.settings_dict["OPTIONS"] = {"connect_timeout": 9, "options": "-c work_mem=8MB"}

    params = database.get_connection_params()

    assert (params["connect_timeout"], params["application_name"]) == (9, "sendonce")
    assert ask(database, "SHOW work_mem") == "8MB"
    assert ask(database, "SHOW plan_cache_mode") == "force_generic_plan"
    assert ask(database, "SHOW idle_in_transaction_session_timeout") == "15s"


# ── A look before each request ────────────────────────────────────────────────────────────────


@pytest.fixture
def before_each_request(database):
    database.health_check_enabled = True

    def look():
        database.health_check_done = False
        database.close_if_health_check_failed()

    return look


def test_a_connection_is_looked_at_without_a_question(database, relay, before_each_request):
    pid = ask(database)
    relay.stall()
    before_each_request()
    relay.go_on()

    assert database.connection is not None
    assert ask(database) == pid


def test_one_that_was_ended_meanwhile_is_left(database, before_each_request):
    pid = ask(database)
    raw = database.connection
    ask(connections["default"], f"SELECT pg_terminate_backend({pid})")
    until(lambda: not database.is_usable())

    before_each_request()

    assert raw.closed
    assert ask(database) != pid


def test_a_false_alarm_costs_no_connection(database, before_each_request):
    """Connecting was slow, so the server seems to hang; who is connected is answered."""
    pid = ask(database)
    outage_of(database).is_on = True

    before_each_request()

    assert ask(database) == pid
    outage_of(database).is_on = False


@pytest.mark.slow
def test_a_server_that_hangs_is_sent_nothing_but_the_question(database, relay, before_each_request):
    ask(database)
    raw = database.connection
    outage_of(database).is_on = True
    relay.stall()

    before_each_request()

    assert raw.closed
    with pytest.raises(OperationalError, match="hangs"):
        ask(database)
    relay.go_on()
    outage_of(database).is_on = False
    assert ask(database)


def test_one_that_was_never_made_is_not_usable(database):
    assert not database.is_usable()
