"""The SMTP server's tally against our rows: each accepted job once, none twice, none lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

ROWS = "SELECT id, status FROM jobs_job"
WAITING = frozenset({"scheduled", "queued", "running"})
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Balance:
    """Numbers of jobs."""

    accepted: int  # heard as 202 by the clients
    rows: int
    sent_once: int = 0
    duplicates: int = 0  # copies beyond the first, of any job
    lost: int = 0  # accepted without a row, or final without a copy that should be there
    unknown: int = 0
    dead: int = 0
    stuck: int = 0  # not final though there was time
    strangers: int = 0  # copies of no job of ours

    @property
    def holds(self) -> bool:
        return not (self.duplicates or self.lost or self.stuck or self.strangers)


def balance(accepted: bytes, rows: Iterable[tuple[bytes, str]], copies: Counter[bytes]) -> Balance:
    """`accepted` is ids of 16 bytes in a row; `rows` each job's id and status; `copies` is used up."""
    unseen = {accepted[at : at + 16] for at in range(0, len(accepted), 16)}
    counts: Counter[str] = Counter()
    heard, all_rows = len(unseen), 0
    for job, status in rows:
        all_rows += 1
        unseen.discard(job)
        taken = copies.pop(job, 0)
        counts["duplicates"] += max(0, taken - 1)
        counts[_fate(status, taken)] += 1
    counts["lost"] += len(unseen)
    return Balance(accepted=heard, rows=all_rows, strangers=copies.total(), **counts)


def _fate(status: str, copies: int) -> str:
    if status == "completed":
        return "sent_once" if copies else "lost"
    if status in WAITING:
        return "stuck"
    return {"unknown": "unknown", "failed": "dead"}.get(status, "lost")


def read_rows(database_url: str) -> Iterable[tuple[bytes, str]]:
    with psycopg.connect(database_url) as connection, connection.cursor(name="rows") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for id, status in cursor.execute(ROWS):
            yield id.bytes, status
