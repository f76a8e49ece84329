"""One transaction: repeated when PostgreSQL says that nothing happened, left when the connection broke."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from structlog.testing import capture_logs

from jobs.database import REPEATS, is_away, is_refused, move
from jobs.models import Worker
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def with_state(kind: type[Exception], state: str | None) -> Exception:
    error = kind("said so")
    error.__cause__ = psycopg.OperationalError("said so")
    if state:
        error.__cause__.sqlstate = state
    return error


# ── Away, or a no ─────────────────────────────────────────────────────────────────────────────

AWAY = ["57P01", "57P02", "57P03", "08006", "08001", "53300", "53100", None]
A_NO = ["40P01", "40001", "57014", "55P03", "22P02"]


@pytest.mark.parametrize("state", AWAY)
def test_these_say_that_postgres_cannot_be_asked(state):
    assert is_away(with_state(OperationalError, state))


@pytest.mark.parametrize("state", ["25006", "25P03"])
def test_a_demoted_server_and_one_that_ended_a_paused_transaction_are_as_good_as_away(state):
    """Django takes these for internal errors."""
    assert is_away(with_state(InternalError, state))


@pytest.mark.parametrize(
    ("error", "is_the_rows_fault"),
    [
        (DataError, True),
        (IntegrityError, True),
        (ProgrammingError, True),
        (OperationalError, False),
        (InternalError, False),
        (InterfaceError, False),
        (ValueError, True),
    ],
)
def test_only_what_cannot_be_written_is_the_rows_own_fault(error, is_the_rows_fault):
    """A cancelled statement, an exhausted lock table or a full disk would refuse any other row as well."""
    assert is_refused(error("no")) is is_the_rows_fault


@pytest.mark.parametrize("state", A_NO)
def test_these_say_no(state):
    assert not is_away(with_state(OperationalError, state))


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (InterfaceError("connection already closed"), True),
        (OperationalError("never connected"), True),
        (DataError("no"), False),
        (IntegrityError("no"), False),
        (DatabaseError("no"), False),
        (ValueError("no"), False),
    ],
)
def test_only_a_connection_can_be_away(error, away):
    assert is_away(error) == away


# ── Repeated ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_what_did_not_happen_is_repeated_until_it_does(committed, state):
    tries = []

    @move
    def unlucky(word, *, times):
        tries.append(word)
        if len(tries) < times:
            raise with_state(OperationalError, state)
        return word

    with capture_logs() as logs:
        assert unlucky("done", times=4) == "done"

    assert tries == ["done"] * 4
    assert logs[0] == {"event": "transaction_repeated", "move": "unlucky", "sqlstate": state, "log_level": "info"}
    assert len(logs) == 3


def test_what_never_happens_is_given_up(committed):
    tries = []

    @move
    def hopeless():
        tries.append(1)
        raise with_state(OperationalError, "40P01")

    with pytest.raises(OperationalError):
        hopeless()

    assert len(tries) == REPEATS + 1


def test_what_was_tried_before_a_repetition_leaves_no_trace(committed):
    tries = []

    @move
    def unlucky():
        tries.append(1)
        build.beat(build.WORKER if len(tries) == 1 else build.OTHER_WORKER)
        if len(tries) == 1:
            raise with_state(OperationalError, "40001")

    unlucky()

    assert list(Worker.objects.values_list("pk", flat=True)) == [build.OTHER_WORKER]


@pytest.mark.slow
def test_a_real_deadlock_ends_well_for_both(committed):
    for worker in (build.WORKER, build.OTHER_WORKER):
        build.beat(worker)
    both_hold_one, tries = threading.Barrier(2, timeout=10), []

    def lock(worker):
        build.sql("UPDATE jobs_worker SET completed = completed + 1 WHERE id = %s", worker)

    def in_order(first, second):
        is_first_try = threading.local()

        @move
        def work():
            tries.append(first)
            lock(first)
            if not hasattr(is_first_try, "over"):
                is_first_try.over = True
                both_hold_one.wait()
            lock(second)

        try:
            work()
        finally:
            connection.close()

    threads = [
        threading.Thread(target=in_order, args=pair)
        for pair in ((build.WORKER, build.OTHER_WORKER), (build.OTHER_WORKER, build.WORKER))
    ]
    with capture_logs() as logs:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)

    assert {line["sqlstate"] for line in logs} == {"40P01"}
    assert len(tries) == 2 + len(logs)
    assert list(Worker.objects.values_list("completed", flat=True)) == [2, 2]


def test_a_no_is_not_repeated_and_keeps_the_connection(committed):
    tries = []

    @move
    def refused():
        tries.append(1)
        build.sql("SELECT 1/0")

    build.sql("SELECT 1")
    before = connection.connection

    with pytest.raises(DataError):
        refused()

    assert tries == [1]
    assert connection.connection is before
    assert build.sql("SELECT 1") == [(1,)]


def test_within_a_transaction_a_move_takes_part_and_repeats_nothing(committed):
    tries = []

    @move
    def part():
        tries.append(1)
        raise with_state(OperationalError, "40P01")

    with pytest.raises(OperationalError), transaction.atomic():
        part()

    assert tries == [1]


# ── Broken ────────────────────────────────────────────────────────────────────────────────────


def test_a_broken_connection_is_told_left_and_opened_afresh(postgres):
    @move
    def ask():
        return build.sql("SELECT pg_backend_pid()")[0][0]

    def terminate():
        build.sql("SELECT pg_terminate_backend(pg_backend_pid())")

    before = ask()

    with pytest.raises(OperationalError) as told:
        move(terminate)()

    assert is_away(told.value)
    assert connection.connection is None
    assert ask() != before


@pytest.mark.slow
def test_who_pauses_in_a_transaction_loses_its_locks_and_begins_anew(committed):
    build.beat()

    @move
    def pause():
        build.sql("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
        build.sql("SELECT * FROM jobs_worker FOR UPDATE")
        with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
            other.execute("SELECT * FROM jobs_worker FOR UPDATE")  # waits until the server has ended the other one
        build.sql("SELECT 1")

    with pytest.raises(DatabaseError) as told:
        pause()

    assert is_away(told.value)
    build.beat()


def test_one_that_was_cut_while_it_rested_is_opened_afresh_after_one_error(postgres):
    @move
    def ask():
        return build.sql("SELECT pg_backend_pid()")[0][0]

    pid = ask()
    postgres.end(pid)

    with pytest.raises(OperationalError):
        ask()

    assert ask() != pid


def test_while_postgres_lets_nobody_in_every_try_is_told_so(postgres):
    postgres.go_away()

    for _ in range(2):
        with pytest.raises(OperationalError) as told:
            build.beat()
        assert is_away(told.value)

    postgres.come_back()
    build.beat()
    assert Worker.objects.count() == 1
