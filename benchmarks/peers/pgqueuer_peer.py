"""pgqueuer on PostgreSQL through asyncpg and uvloop, in large batches (docs: Performance).

python -m benchmarks.peers.pgqueuer_peer enqueue nothing 20000
python -m benchmarks.peers.pgqueuer_peer work
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import deque

import aiosmtplib
import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers import mail, place

BATCH = 500
MAILS_AT_ONCE = 64

connections: deque[aiosmtplib.SMTP] = deque()
slots = asyncio.Semaphore(MAILS_AT_ONCE)


async def enqueue(task: str, count: int) -> None:
    connection = await asyncpg.connect(place.DATABASE_URL)
    queries = Queries(AsyncpgDriver(connection))
    if not await queries.has_table("pgqueuer"):
        await queries.install()
    payloads: list[bytes | None] = [json.dumps(job).encode() for job in place.jobs(count)]
    for start in range(0, count, 1000):
        batch = payloads[start : start + 1000]
        await queries.enqueue([task] * len(batch), batch, [0] * len(batch))
    await connection.close()


async def work() -> None:
    connection = await asyncpg.connect(place.DATABASE_URL)
    worker = PgQueuer(AsyncpgDriver(connection))

    @worker.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        place.tally().begin()
        place.tally().done()

    @worker.entrypoint("send")
    async def send(job: Job) -> None:
        job_id, to = json.loads(job.payload or b"")
        async with slots:
            smtp = connections.pop() if connections else await _connect()
            await smtp.send_message(mail.message(job_id, to))
            connections.append(smtp)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.shutdown.set)
    await worker.run(batch_size=BATCH)


async def _connect() -> aiosmtplib.SMTP:
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=place.SMTP_PORT, start_tls=False)
    await smtp.connect()
    return smtp


if __name__ == "__main__":
    uvloop.run(work() if sys.argv[1] == "work" else enqueue(sys.argv[2], int(sys.argv[3])))
