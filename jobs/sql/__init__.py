"""The named statements, one per file; `run` is the only way to them.

Each file opens with its guard and with what zero rows mean. All are written for batches.
Guards are the protocol's (I4): a statement names the state and the claim token that it expects,
and the rows that come back are the answer.

Two habits keep their plans on the primary keys, however large or fresh the tables (tests/jobs/transitions/
test_statements.py): a guard on the status of jobs that are found by id is written `status || '' = 'queued'`, so
that no partial index of a whole backlog looks cheaper; and a limited batch is updated by `id = ANY(ARRAY(…))`,
because a join with it would be planned for a tenth of the table.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from psycopg.rows import namedtuple_row

# The road of one email: prepared, and planned every few seconds. The others, which are rarer, each time.
KEPT = frozenset(
    {
        *("insert_jobs", "claim", "gate", "mark", "lock_jobs", "sent_deliveries", "sent_jobs"),
        *("sent_unmarked_deliveries", "close_dead_letters", "insert_attempts", "beat", "first_answers"),
    }
)
STATEMENTS = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.sql"))}


def run(name: str, /, **params: Any) -> list[Any]:
    """Run one named statement on this thread's connection; rows come back as named tuples.

    Takes part in Django's transaction, if one is open. Parameters are bound by the server, so arrays
    of any length share one plan. Raises django.db's errors.
    """
    connection.ensure_connection()
    raw = connection.connection
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(raw, row_factory=namedtuple_row) as cursor,
        raw.preparing() if name in KEPT else nullcontext(),
    ):
        cursor.execute(STATEMENTS[name].encode(), params)
        return cursor.fetchall() if cursor.description else []
