"""The least that the steps of a mail can cost on this machine: nothing is checked or remembered, and all goes well.

What they leave out is what a platform is for; what they cost is what no platform in Python and PostgreSQL goes below.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import threading
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from uuid import uuid4

import psycopg
import redis

from benchmarks.letter import TEXT

TABLES = (
    "CREATE TABLE bare_jobs (id uuid PRIMARY KEY, state text NOT NULL, payload jsonb NOT NULL)",
    "CREATE TABLE bare_ledger (hash bytea PRIMARY KEY, state text NOT NULL)",
)
PAYLOAD = '{"to": "a@example.org"}'
CLAIM = "UPDATE bare_jobs SET state = 'running' WHERE id = ANY(%s) AND state = 'queued' RETURNING id, payload"
LEDGER = "INSERT INTO bare_ledger SELECT h, 'claimed' FROM unnest(%s::bytea[]) h ON CONFLICT DO NOTHING RETURNING hash"
DONE = "UPDATE bare_jobs SET state = 'done' WHERE id = ANY(%s)"
LIST = "sendonce-bench-floor"
MAIL = (
    "From: Shop <shop@example.org>\r\nTo: a@example.org\r\nSubject: Your order\r\nMessage-ID: <{id}@example.org>\r\n"
    "X-Job-ID: {id}\r\nMIME-Version: 1.0\r\n\r\n" + TEXT.replace("\n", "\r\n")
)


def walk(clock: Any, mails: int, *, port: int, lines: int, batch: int) -> None:
    _database(clock, mails, batch)
    _queue(clock, mails, batch)
    ids = [str(uuid4()) for _ in range(mails)]
    bodies = clock.time("floor of build: a filled-in string", lambda: [_filled_in(id) for id in ids])
    clock.time("beside build: the standard library's email", lambda: [_message(id).as_bytes(policy=SMTP) for id in ids])
    clock.time("floor of SMTP: bytes ready, one round trip", lambda: asyncio.run(_pipelined(port, bodies, lines)))
    clock.time("beside SMTP: smtplib in threads", lambda: _in_threads(port, ids))


def _database(clock: Any, mails: int, batch: int) -> None:
    """Claim, ledger and done: three statements, each a transaction of many rows."""
    with psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True) as connection:
        connection.prepare_threshold = 0
        for table in TABLES:
            connection.execute(table)
        ids = [uuid4() for _ in range(mails)]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO bare_jobs VALUES (%s, 'queued', %s)", [(id, PAYLOAD) for id in ids])

        def trip() -> None:
            for start in range(0, mails, batch):
                some = ids[start : start + batch]
                connection.execute(CLAIM, [some]).fetchall()
                connection.execute(LEDGER, [[id.bytes for id in some]]).fetchall()
                connection.execute(DONE, [some])

        clock.time("floor of claim, gate and settle: three bare statements", trip)


def _queue(clock: Any, mails: int, batch: int) -> None:
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    client.rpush(LIST, *(uuid4().bytes for _ in range(mails)))
    clock.time("floor of queue: LPOP of many", lambda: [client.lpop(LIST, batch) for _ in range(0, mails, batch)])
    client.close()


def _filled_in(id: str) -> bytes:
    return MAIL.format(id=id).encode()


def _message(id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Shop <shop@example.org>", "a@example.org", "Your order"
    mail["Message-ID"], mail["X-Job-ID"] = f"<{id}@example.org>", id
    mail.set_content(TEXT)
    return mail


class _Line(asyncio.Protocol):
    """Sends the next envelope with each dot, and looks at nothing but the go-ahead."""

    def __init__(self, bodies: list[bytes]) -> None:
        self._bodies = bodies
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(b"EHLO bench\r\n" + ENVELOPE)

    def data_received(self, data: bytes) -> None:
        if b"354 " not in data:
            return
        if not self._bodies:
            self._transport.abort()
            self.over.set_result(None)
            return
        self._transport.write(self._bodies.pop())
        self._transport.write(b".\r\n" + ENVELOPE)


ENVELOPE = b"MAIL FROM:<shop@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"


async def _pipelined(port: int, bodies: list[bytes], lines: int) -> None:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Line(bodies), "127.0.0.1", port) for _ in range(lines)]
    await asyncio.gather(*(line.over for _, line in made))


def _in_threads(port: int, ids: list[str]) -> None:
    rest = iter([_message(id).as_bytes(policy=SMTP) for id in ids])
    lock = threading.Lock()

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            while True:
                with lock:
                    body = next(rest, None)
                if body is None:
                    return
                client.sendmail("shop@example.org", ["a@example.org"], body)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
