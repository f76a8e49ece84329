"""The two-tier gate that users of a plain queue have to write by hand: SET NX, then a UNIQUE row, committed.

It stops duplicates. It has no mark and no settlement: who dies between the row and the mail loses the mail.
"""

from __future__ import annotations

import threading

import psycopg
import redis

from benchmarks.peers import place

TABLE = "CREATE TABLE IF NOT EXISTS sent (key text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
TTL_SECONDS = 86_400
_mine = threading.local()


def make_table() -> None:
    with psycopg.connect(place.DATABASE_URL, autocommit=True) as connection:
        connection.execute(TABLE)


def is_first(key: str) -> bool:
    """Whether nobody has passed with this key before. Each thread has its own two connections, and keeps them."""
    if not hasattr(_mine, "redis"):
        _mine.redis = redis.Redis.from_url(place.REDIS_URL)
        _mine.postgres = psycopg.connect(place.DATABASE_URL, autocommit=True)
    if not _mine.redis.set(f"gate:{key}", 1, nx=True, ex=TTL_SECONDS):
        return False
    inserted = _mine.postgres.execute("INSERT INTO sent (key) VALUES (%s) ON CONFLICT DO NOTHING", [key])
    return bool(inserted.rowcount)
