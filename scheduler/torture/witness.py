"""An independent witness inside PostgreSQL: triggers of our own that write down every committed move.

A mark that was overwritten later, a final state that was left, a worker whose row is gone: the tables forget, the
witness does not. It changes nothing: its triggers run after the write, insert into tables that nobody else reads, and
lock no row of anybody's. What is rolled back takes its testimony with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from scheduler.torture.evidence import Attempt, Beat, Decision, Delivery, Hand, Move, Row, Step

STATEMENT_SECONDS = 60

INSTALL = """
CREATE SCHEMA witness;

CREATE TABLE witness.move (
    seq bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(),
    job uuid, old text, new text, claim bigint, worker uuid
);
CREATE FUNCTION witness.see_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.move (job, old, new, claim, worker) VALUES (
        coalesce(NEW.id, OLD.id), coalesce(OLD.status, ''), coalesce(NEW.status, ''),
        coalesce(NEW.claim, OLD.claim), coalesce(NEW.worker, OLD.worker));
    RETURN NULL;
END $$;
CREATE TRIGGER witness_change AFTER UPDATE ON jobs_job FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.claim IS DISTINCT FROM NEW.claim)
    EXECUTE FUNCTION witness.see_job();
CREATE TRIGGER witness_both_ends AFTER INSERT OR DELETE ON jobs_job FOR EACH ROW EXECUTE FUNCTION witness.see_job();

CREATE TABLE witness.step (
    seq bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(),
    job uuid, old text, new text, claim bigint
);
CREATE FUNCTION witness.see_delivery() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.step (job, old, new, claim) VALUES (
        coalesce(NEW.job_id, OLD.job_id), coalesce(OLD.state, ''), coalesce(NEW.state, ''),
        coalesce(NEW.claim, OLD.claim));
    RETURN NULL;
END $$;
CREATE TRIGGER witness_change AFTER UPDATE ON jobs_delivery FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state OR OLD.claim IS DISTINCT FROM NEW.claim)
    EXECUTE FUNCTION witness.see_delivery();
CREATE TRIGGER witness_both_ends AFTER INSERT OR DELETE ON jobs_delivery FOR EACH ROW
    EXECUTE FUNCTION witness.see_delivery();

CREATE TABLE witness.beat (seq bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), worker uuid, name text);
CREATE FUNCTION witness.see_worker() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.beat (worker, name) VALUES (NEW.id, NEW.name);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_beat AFTER INSERT OR UPDATE ON jobs_worker FOR EACH ROW EXECUTE FUNCTION witness.see_worker();
"""

STANDING = "SELECT status, count(*) FROM jobs_job GROUP BY status"
UNSETTLED = """
SELECT count(*) FROM jobs_job AS j
WHERE j.status IN ('scheduled', 'queued', 'running')
   OR (j.held_behind IS NOT NULL AND NOT EXISTS (
        SELECT FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash AND d.state = 'unknown'))
"""
LAST = "SELECT coalesce((SELECT max(seq) FROM witness.move), 0) + coalesce((SELECT max(seq) FROM witness.step), 0)"

MOVES = "SELECT job, old, new, at, claim, worker FROM witness.move ORDER BY seq"
STEPS = "SELECT job, old, new, at, claim FROM witness.step ORDER BY seq"
BEATS = "SELECT worker, at FROM witness.beat ORDER BY seq"
HANDS = """
SELECT worker, substring(name FROM '[0-9]+$')::int, min(at) FROM witness.beat GROUP BY worker, name ORDER BY min(at)
"""
ROWS = """
SELECT id, status, coalesce(recipients ->> 0, ''), idempotency_key, claim, held_behind, duplicate_of, attempts,
       coalesce(last_error ->> 'kind', '')
FROM jobs_job ORDER BY id
"""
DELIVERIES = "SELECT job_id, state, claim FROM jobs_delivery"
ATTEMPTS = "SELECT job_id, claim, outcome, ended_at, coalesce(kind, ''), detail FROM jobs_attempt ORDER BY id"
DECISIONS = "SELECT job_id, resolution FROM jobs_deadletter WHERE resolution IS NOT NULL ORDER BY id"


class Away(Exception):
    """PostgreSQL does not answer just now."""


class Witness:
    """Asks over a connection of its own, which is made anew whenever it broke."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url  # known once PostgreSQL has been started
        self._connection: psycopg.Connection[Any] | None = None

    def install(self) -> None:
        """After the migrations, before the first job."""
        self._ask(INSTALL)

    def standing(self) -> dict[str, int]:
        """How many jobs stand where. Raises Away."""
        return dict(self._ask(STANDING))

    def unsettled(self) -> int:
        """How many jobs are still to move by themselves. Raises Away."""
        return int(self._ask(UNSETTLED)[0][0])

    def last(self) -> int:
        """Grows whenever anything has moved. Raises Away."""
        return int(self._ask(LAST)[0][0])

    def moves(self) -> list[Move]:
        return [
            Move(str(j), old, new, _time(at), claim, w and str(w)) for j, old, new, at, claim, w in self._ask(MOVES)
        ]

    def steps(self) -> list[Step]:
        return [Step(str(job), old, new, _time(at), claim) for job, old, new, at, claim in self._ask(STEPS)]

    def hands(self) -> list[Hand]:
        return [Hand(str(worker), pid, _time(at)) for worker, pid, at in self._ask(HANDS)]

    def beats(self) -> list[Beat]:
        return [Beat(str(worker), _time(at)) for worker, at in self._ask(BEATS)]

    def rows(self) -> list[Row]:
        return [
            Row(str(id), status, to, key, claim, held and str(held), twin and str(twin), attempts, error)
            for id, status, to, key, claim, held, twin, attempts, error in self._ask(ROWS)
        ]

    def deliveries(self) -> list[Delivery]:
        return [Delivery(str(job), state, claim) for job, state, claim in self._ask(DELIVERIES)]

    def attempts(self) -> list[Attempt]:
        return [
            Attempt(str(job), claim, outcome, _time(at), kind, detail)
            for job, claim, outcome, at, kind, detail in self._ask(ATTEMPTS)
        ]

    def decisions(self) -> list[Decision]:
        return [Decision(str(job), resolution) for job, resolution in self._ask(DECISIONS)]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, statement: str) -> list[Any]:
        try:
            if self._connection is None:
                options = f"-c statement_timeout={STATEMENT_SECONDS}s"
                self._connection = psycopg.connect(self._url(), autocommit=True, connect_timeout=2, options=options)
            cursor = self._connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError as error:
            self.close()
            raise Away(str(error)) from error


def _time(at: datetime) -> float:
    return at.timestamp()
