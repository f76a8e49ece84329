"""The sink of the benchmarks takes what it says it takes, and remembers whose it was."""

from __future__ import annotations

import asyncio
import smtplib
import time
from contextlib import asynccontextmanager, closing
from uuid import UUID, uuid4

from benchmarks import sink, tally
from benchmarks.sink import Book, Session


@asynccontextmanager
async def a_sink(folder, **how):
    with closing(Book(folder)) as book:
        server = await asyncio.get_running_loop().create_server(
            lambda: Session(book, **{"pipelining": True, "delay_seconds": 0.0} | how), "127.0.0.1", 0
        )
        async with server:
            yield server.sockets[0].getsockname()[1]


def mail(job_id):
    return f"From: a@example.org\r\nX-Job-ID: {job_id}\r\n\r\nHello.\r\n..and a dot\r\n".encode()


def talk(port, jobs):
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.ehlo()
        for job_id in jobs:
            client.sendmail("a@example.org", ["b@example.org", "c@example.org"], mail(job_id))
        return client.esmtp_features


def test_every_mail_is_counted_under_its_job(tmp_path):
    jobs, began = [uuid4() for _ in range(5)], time.time()

    async def trip():
        async with a_sink(tmp_path) as port:
            await asyncio.to_thread(talk, port, [*jobs, jobs[0]])

    asyncio.run(trip())

    assert {UUID(bytes=job): copies for job, copies in sink.read(tmp_path).items()} == dict.fromkeys(jobs, 1) | {
        jobs[0]: 2
    }
    assert tally.read(tmp_path).count == 6
    begun = sink.read_begun(tmp_path)
    assert set(begun) == set(jobs)
    assert all(began <= at <= time.time() for at in begun.values())


def test_a_mail_without_a_job_is_nobodys(tmp_path):
    async def trip():
        async with a_sink(tmp_path) as port:
            await asyncio.to_thread(talk, port, ["no-uuid"])

    asyncio.run(trip())

    assert sink.read(tmp_path) == {sink.NOBODY: 1}


def test_pipelining_is_offered_as_asked(tmp_path):
    async def trip(offered):
        async with a_sink(tmp_path, pipelining=offered) as port:
            return await asyncio.to_thread(talk, port, [])

    assert "pipelining" in asyncio.run(trip(True))
    assert "pipelining" not in asyncio.run(trip(False))


def test_commands_and_a_body_in_pieces_of_any_size_are_one_conversation(tmp_path):
    job_id = uuid4()
    whole = (
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + mail(job_id) + b".\r\nMAIL FROM:<a@b>\r\n"
        b"RCPT TO:<c@d>\r\nDATA\r\n" + mail(job_id) + b".\r\nQUIT\r\n"
    )

    async def trip(size):
        async with a_sink(tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for start in range(0, len(whole), size):
                writer.write(whole[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            answers = await reader.readuntil(b"221 2.0.0 bye\r\n")
            writer.close()
            return [line[:3] for line in answers.splitlines()]

    expected = [b"220", b"250", b"250", b"250", *[b"250", b"250", b"354", b"250"] * 2, b"221"]
    assert [asyncio.run(trip(size)) for size in (1, 7, 1000)] == [expected] * 3
    assert sink.read(tmp_path) == {job_id.bytes: 6}


def test_a_server_far_away_answers_late_and_in_order(tmp_path):
    job_id = uuid4()

    async def trip():
        async with a_sink(tmp_path, delay_seconds=0.05) as port:
            began = time.monotonic()
            await asyncio.to_thread(talk, port, [job_id])
            return time.monotonic() - began

    assert asyncio.run(trip()) >= 0.05 * 7  # greeting, EHLO, MAIL, RCPT twice, DATA, the dot
    assert sink.read(tmp_path) == {job_id.bytes: 1}
