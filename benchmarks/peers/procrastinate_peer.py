"""Procrastinate on PostgreSQL: an async worker with many jobs at once, finished jobs deleted.

python -m benchmarks.peers.procrastinate_peer enqueue nothing 20000
python -m benchmarks.peers.procrastinate_peer work
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

import aiosmtplib
import procrastinate

from benchmarks.peers import mail, place

JOBS_AT_ONCE = 64

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=place.DATABASE_URL, max_size=16))
connections: deque[aiosmtplib.SMTP] = deque()


@app.task(name="nothing")
async def nothing(job_id: str, to: str) -> None:
    place.tally().begin()
    place.tally().done()


@app.task(name="send")
async def send(job_id: str, to: str) -> None:
    smtp = connections.pop() if connections else await _connect()
    await smtp.send_message(mail.message(job_id, to))
    connections.append(smtp)


async def _connect() -> aiosmtplib.SMTP:
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=place.SMTP_PORT, start_tls=False)
    await smtp.connect()
    return smtp


async def enqueue(task: str, count: int) -> None:
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        deferrer = app.configure_task(task)
        jobs = [{"job_id": job_id, "to": to} for job_id, to in place.jobs(count)]
        for start in range(0, count, 1000):
            await deferrer.batch_defer_async(*jobs[start : start + 1000])


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=JOBS_AT_ONCE, delete_jobs="always")


if __name__ == "__main__":
    asyncio.run(work() if sys.argv[1] == "work" else enqueue(sys.argv[2], int(sys.argv[3])))
