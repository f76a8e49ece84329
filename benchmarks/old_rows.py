"""Rows as months of work leave them: finished jobs, each with its delivery and its attempt, and some dead letters.

PostgreSQL makes them by itself, some 40,000 a second. Indexes and keys are taken away while rows are laid and put back
as they were; afterwards everything is vacuumed and analysed, as autovacuum would have done meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from benchmarks.letter import TEXT

TABLES = ["jobs_job", "jobs_delivery", "jobs_attempt", "jobs_deadletter"]
AT_ONCE = 1_000_000  # rows a statement: so often somebody may stop it
BYTES_EACH = 2_000  # of disk: 1,130 stay, and sorting for an index takes some for a while

# Every other job had a dedupe key. One job in a hundred was refused for good; of two dead letters somebody has put one
# aside. They came over 90 days, the newest an hour ago, in the order of their ids.
JOBS = """
INSERT INTO jobs_job (
    id, owner_id, type, priority, status, accepted_as, payload, recipients, correlation_id, idempotency_open,
    fingerprint, dedupe_hash, attempts, max_attempts, deaths, run_at, on_unknown, worker, claim, in_doubt,
    result, last_error, pushed_at, created_at, updated_at, finished_at)
SELECT
    id, %(owner)s, 'email', 'default', CASE WHEN is_dead THEN 'failed' ELSE 'completed' END, 'queued',
    jsonb_build_object('to', ARRAY[recipient], 'subject', 'Your order', 'text', %(text)s::text),
    jsonb_build_array(recipient), md5(n::text), false,
    decode(md5('print ' || n), 'hex'),
    CASE WHEN n %% 2 = 0 THEN uuid_send(id) ELSE decode(md5('key ' || id), 'hex') END,
    1, 5, 0, at, 'hold', %(worker)s::uuid, nextval('claims'), false,
    CASE WHEN NOT is_dead THEN %(result)s::jsonb END, CASE WHEN is_dead THEN %(error)s::jsonb END, at, at,
    at + interval '1 second', at + interval '1 second'
FROM (
    SELECT n, uuidv7(ago) AS id, now() + ago AS at, n %% 100 = 0 AS is_dead,
           'customer' || n || '@example.org' AS recipient
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    CROSS JOIN LATERAL (SELECT interval '-1 hour' - interval '90 days' * (1 - n::float8 / %(all)s) AS ago) AS past
) AS job
"""

OTHERS = (
    """
INSERT INTO jobs_delivery (dedupe_hash, job_id, claim, state, provider, claimed_at, dot_at, settled_at)
SELECT dedupe_hash, id, claim, CASE status WHEN 'completed' THEN 'sent' ELSE 'released' END, 'sink', created_at,
       CASE status WHEN 'completed' THEN finished_at END, finished_at
FROM jobs_job WHERE worker = %(worker)s::uuid
""",
    """
INSERT INTO jobs_attempt (job_id, claim, number, worker, provider, outcome, kind, code, detail, started_at, ended_at)
SELECT id, claim, 1, worker, 'sink', CASE status WHEN 'completed' THEN 'sent' ELSE 'permanent' END,
       CASE status WHEN 'failed' THEN 'refused' END, CASE status WHEN 'completed' THEN 250 ELSE 550 END,
       CASE status WHEN 'completed' THEN '2.0.0 taken' ELSE '5.1.1 no such user' END, created_at, finished_at
FROM jobs_job WHERE worker = %(worker)s::uuid
""",
    """
INSERT INTO jobs_deadletter (
    job_id, owner_id, type, reason, error, claim, died_at, resolution, resolved_at, resolved_by_id)
SELECT id, owner_id, type, 'permanent', last_error, claim, finished_at, CASE WHEN NOT is_open THEN 'discarded' END,
       CASE WHEN NOT is_open THEN finished_at + interval '1 hour' END, CASE WHEN NOT is_open THEN owner_id END
FROM (
    SELECT *, row_number() OVER (ORDER BY id) %% 2 = 0 AS is_open FROM jobs_job
    WHERE worker = %(worker)s::uuid AND status = 'failed'
) AS dead
""",
)

WORKER = "00000000-0000-7000-8000-000000000001"  # nobody's: it tells old rows from others
RESULT = {"provider": "sink", "code": 250, "detail": "2.0.0 taken"}
ERROR = {"kind": "refused", "provider": "sink", "code": 550, "detail": "5.1.1 no such user"}

DEFINED = """
SELECT t.relname, c.conname, NULL, pg_get_constraintdef(c.oid), array_position('{p,u,x,f}', c.contype::text)
FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
WHERE t.relname = ANY(%(tables)s) AND c.contype IN ('p', 'u', 'x', 'f')
UNION ALL
SELECT t.relname, NULL, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), 2
FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
WHERE t.relname = ANY(%(tables)s) AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
ORDER BY 5, 1, 2, 3
"""


@dataclass(frozen=True)
class Defined:
    """A constraint or an index, as PostgreSQL would write it down."""

    table: str
    constraint: str | None
    index: str | None
    text: str
    order: int  # keys first, then what refers to them

    @property
    def drop(self) -> str:
        if self.constraint:
            return f'ALTER TABLE {self.table} DROP CONSTRAINT "{self.constraint}"'
        return f"DROP INDEX {self.index}"

    @property
    def make(self) -> str:
        if self.constraint:
            return f'ALTER TABLE {self.table} ADD CONSTRAINT "{self.constraint}" {self.text}'
        return self.text


def lay(url: str, count: int, *, owner: int, note: Callable[[str], None] = lambda _: None) -> None:
    """So many old jobs of one owner, and all that goes with them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        with connection.transaction():
            taken_away = defined(connection)
            for each in reversed(taken_away):
                _run(connection, each.drop)
            _insert(connection, count, owner, note)
            note("indexes")
            for each in taken_away:
                _run(connection, each.make)
        note("vacuum")
        connection.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}".encode())
        connection.execute("CHECKPOINT")


def _insert(connection: psycopg.Connection[Any], count: int, owner: int, note: Callable[[str], None]) -> None:
    facts = {"owner": owner, "worker": WORKER, "text": TEXT, "all": count}
    facts |= {"result": json.dumps(RESULT), "error": json.dumps(ERROR)}
    for first in range(1, count + 1, AT_ONCE):
        note(f"job {first:,} of {count:,}")
        connection.execute(JOBS, facts | {"first": first, "last": min(first + AT_ONCE - 1, count)})
    note("their deliveries and attempts")
    for statement in OTHERS:
        connection.execute(statement, facts)


def defined(connection: psycopg.Connection[Any]) -> list[Defined]:
    """All keys, constraints and indexes of the tables, in the order in which they can be made."""
    return [Defined(*row) for row in connection.execute(DEFINED, {"tables": TABLES}).fetchall()]


def _run(connection: psycopg.Connection[Any], statement: str) -> None:
    connection.execute(statement.encode())
