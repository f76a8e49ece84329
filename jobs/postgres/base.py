"""Django's PostgreSQL backend, for a server that may hang or vanish without a word.

As long as a machine's kernel acknowledges what it is sent, TCP takes the server for alive, and psycopg waits for it
for ever. Here a statement that has heard nothing for PATIENCE_SECONDS has the server asked, over another connection,
whether it answers at all (outage.py). If it does, the statement is slow, or waits for a lock, and goes on waiting.
If not, whatever waits fails, and nobody connects any more, until it answers.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base as django
from psycopg import IsolationLevel
from psycopg.abc import PQGen

from jobs.outage import Outage

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 1.0
QUESTION_SECONDS = 2  # for a connection made only to ask; psycopg allows no less
PLANS_SECONDS = 5.0  # a plan that suits an empty table must not be kept until it is a huge one

# What DATABASE_URL may say otherwise, as ?connect_timeout=10.
DEFAULTS: dict[str, Any] = {
    "application_name": "sendonce",
    "connect_timeout": 5,
    # TCP repeats what is not acknowledged ever more seldom. Who gives up early, and begins anew, finds a server that
    # is back, or another one in its place, a second later and not as late again as it was gone.
    "tcp_user_timeout": 2_500,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
OPTIONS = (
    "-c plan_cache_mode=force_generic_plan "  # for arrays of any length, on an empty table and on a huge one
    # As PostgreSQL's documentation advises for solid-state storage. At 4, the default for disks that turn, a thousand
    # rows are read from end to end rather than ten times looked up (the gate then takes twice as long).
    "-c random_page_cost=1.1 "
    # For the server: a process of ours that is paused, or gone without a word, does not keep its locks for long.
    "-c idle_in_transaction_session_timeout=15s "
    # What waits for a lock when its process is killed is not carried out afterwards.
    "-c client_connection_check_interval=1s "
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


class Hangs(psycopg.OperationalError):
    """PostgreSQL took connections a moment ago, and says nothing."""


class DatabaseWrapper(django.DatabaseWrapper):
    """As Django's own, but for its pool and other isolation levels, which nobody here uses."""

    def get_connection_params(self) -> dict[str, Any]:
        params = DEFAULTS | super().get_connection_params()
        params["options"] = f"{OPTIONS} {params.get('options', '')}".strip()
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        outage = _outage_of(conn_params.get("host"), conn_params.get("port"))
        outage.asks_with = conn_params
        if outage.is_on:
            raise Hangs("PostgreSQL hangs.")
        with outage.watch():
            connection = Connection.connect(**conn_params)
        connection.outage, connection.planned_at = outage, time.monotonic()
        return connection

    def is_usable(self) -> bool:
        """Whether the server has ended this connection since it was last used, by a look and not by a question: an
        idle one has nothing to read but the server's farewell. Of one that vanished, TCP tells as soon as it notices.
        While the server seems to hang it is asked all the same: what is sent to one that does is carried out later.
        """
        raw: Connection | None = self.connection
        if raw is None or raw.closed:
            return False
        if raw.outage and raw.outage.is_on:
            return super().is_usable()
        look = select.poll()
        look.register(raw.fileno(), select.POLLIN)
        return not look.poll(0)


class Connection(psycopg.Connection[Any]):
    """Gives up waiting when the server hangs. Whether its last statement took effect cannot be known then."""

    outage: Outage | None = None  # until it is connected
    planned_at = 0.0

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """What is executed in this block is prepared. Planned anew once in a while, for what its tables have become;
        nothing else is kept, for texts of Django's hold values."""
        now = time.monotonic()
        if now - self.planned_at >= PLANS_SECONDS:
            self.planned_at = now
            self.execute("DISCARD PLANS")
        self.prepare_threshold = 0
        try:
            yield
        finally:
            self.prepare_threshold = None

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        try:
            return super().wait(self._patiently(gen), *args, **kwargs)
        except Hangs:
            self.close()
            raise

    def _patiently(self, gen: PQGen[Answer]) -> Generator[Any, Any, Answer]:
        """The same waits. While nothing comes, psycopg sends something false several times a second."""
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                else:
                    self._look(time.monotonic() - heard_at)
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def _look(self, silent_seconds: float) -> None:
        if tell := getattr(_this_thread, "tell", None):
            tell()
        if self.outage and silent_seconds >= PATIENCE_SECONDS:
            self.outage.suspect()
        if self.outage and self.outage.is_on and silent_seconds >= PATIENCE_SECONDS:
            raise Hangs("PostgreSQL hangs.")


class ServerOutage(Outage):
    """Of the server at one address, which is asked with whatever was to connect there last."""

    def __init__(self) -> None:
        super().__init__("postgresql", self._connect)
        self.asks_with: dict[str, Any] = {}

    def _connect(self) -> None:
        psycopg.connect(**self.asks_with | {"connect_timeout": QUESTION_SECONDS}).close()


@cache
def _outage_of(host: str | None, port: str | int | None) -> ServerOutage:
    return ServerOutage()


# ── Who waits ─────────────────────────────────────────────────────────────────────────────────

_this_thread = threading.local()


def while_waiting(tell: Callable[[], None]) -> None:
    """Have this thread call `tell` several times a second for as long as it waits for PostgreSQL: it is not dead."""
    _this_thread.tell = tell
