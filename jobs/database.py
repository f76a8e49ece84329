"""One transaction, done right: repeated when PostgreSQL says that nothing happened, reconnected when it was away."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

REPEATS = 10
GIVE_WAY_SECONDS = 0.02  # at once, the loser of a deadlock would hold its lock again before the winner wakes
NOTHING_HAPPENED = frozenset({"40001", "40P01"})  # serialization failure, deadlock
# A prepared statement is gone, or its table got other column types under it: the next connection prepares it afresh.
PLAN_IS_LOST = frozenset({"26000", "42P05", "0A000"})


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five characters for what went wrong, or None when it never answered."""
    return getattr(error.__cause__, "sqlstate", None)


def is_away(error: BaseException) -> bool:
    """Whether the error says that PostgreSQL cannot be asked (rather than that it said no).

    A demoted server (25006) is as good as away, though its connection lives: leave it and connect afresh. Whoever
    was paused in the middle of a transaction finds its connection ended (25P03).
    """
    state = sqlstate(error)
    if isinstance(error, InterfaceError) or state in {"25006", "25P03"}:
        return True
    if not isinstance(error, OperationalError):
        return False
    # 57P0x: shutting down, crashed, starting up; 08: connection; 53: out of resources
    return state is None or state[:2] in {"08", "53"} or state[:4] == "57P0"


def is_refused(error: BaseException) -> bool:
    """Whether it is the row's own fault: trying again, alone or later, cannot help."""
    if isinstance(error, DataError | IntegrityError | ProgrammingError | NotSupportedError):
        return True
    return isinstance(error, TypeError | ValueError | OverflowError)  # a value that could not even be written down


def fingerprint() -> str:
    """16 hex digits that tell this process's database from others; the same wherever it is addressed alike."""
    of = connection.settings_dict
    return hashlib.blake2b(f"{of['HOST']}:{of['PORT']}/{of['NAME']}".encode(), digest_size=8).hexdigest()


def move(function: Callable[P, T]) -> Callable[P, T]:
    """One transition: a transaction of its own, repeated after a deadlock.

    Inside an open transaction it takes part in that one instead. When the connection broke it is
    closed, so that the next call opens a fresh one; the error goes up, because whether a commit
    arrived cannot be known here.
    """
    return _repeated(function, transaction.atomic)


def single_statement(function: Callable[P, T]) -> Callable[P, T]:
    """A move of one statement, which PostgreSQL wraps in a transaction itself: one round trip instead of three.

    A server that hung carries it out when it goes on, though its caller has given up (a transaction whose COMMIT was
    never sent is rolled back), and so does one whose caller was killed, unless it still waits for a lock
    (client_connection_check_interval). So this is for what does no harm then: a job that is accepted though nobody was
    told; a claim that its worker does not know, and gives back as it was (trace 6); a row of the gate, which asks for
    the claim. A dot mark would be an unknown.
    """
    return _repeated(function, _connected)


@contextmanager
def _connected() -> Iterator[None]:
    connection.close_if_health_check_failed()
    try:
        yield
    except DatabaseError:
        if connection.connection and not connection.connection.closed:
            # psycopg forgets a statement that failed when it was prepared, and PostgreSQL would keep it.
            connection.connection.execute("DEALLOCATE ALL")
        raise


def _repeated(function: Callable[P, T], around: Callable[[], AbstractContextManager[Any]]) -> Callable[P, T]:
    @wraps(function)
    def in_transaction(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.in_atomic_block:
            return function(*args, **kwargs)
        for _ in range(REPEATS):
            try:
                with around():
                    return function(*args, **kwargs)
            except DatabaseError as error:
                if sqlstate(error) in NOTHING_HAPPENED | PLAN_IS_LOST:
                    log.info("transaction_repeated", move=function.__name__, sqlstate=sqlstate(error))
                    if sqlstate(error) in PLAN_IS_LOST:
                        connection.close()
                    time.sleep(random.uniform(0.5, 1.0) * GIVE_WAY_SECONDS)
                    continue
                _leave_if_broken(error)
                raise
            except InterfaceError as error:
                _leave_if_broken(error)
                raise
        with around():
            return function(*args, **kwargs)

    return in_transaction


def _leave_if_broken(error: BaseException) -> None:
    raw = connection.connection
    if is_away(error) or (raw is not None and raw.closed):
        connection.close()
