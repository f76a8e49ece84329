"""The clients of the benchmarks ask what they are told to, and count what they hear."""

from __future__ import annotations

import asyncio
import json

import pytest

from benchmarks.http_load import Requests, load


def served(requests, *, answer=b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", connections=2):
    """The bodies and heads that a server has heard, and what the load tells."""
    heard = []

    async def serve(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line.split(":")[1]) for line in head.split("\r\n") if "Length" in line), 0)
                heard.append((head, await reader.readexactly(length)))
                for piece in (answer[:9], answer[9:]):
                    writer.write(piece)
                    await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    async def trip():
        server = await asyncio.start_server(serve, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await load(requests, "127.0.0.1", port, seconds=0.05, connections=connections)

    return heard, asyncio.run(trip())


def a_kind(body, bulk=3):
    return Requests("http://127.0.0.1:1/jobs?limit=5", token="T", body=body, bulk=bulk)


def test_all_requests_are_answered_and_counted():
    heard, told = served(a_kind("single"))

    assert told["requests"] == len(heard) == told["statuses"]["202"] > 0
    assert told["p50_ms"] <= told["p99_ms"]


@pytest.mark.parametrize(("body", "keys"), [("single", 10), ("replay", 1), ("bulk", 0)])
def test_bodies_differ_as_asked(body, keys):
    kind = a_kind(body)
    requests = [kind.next() for _ in range(10)]

    heads = [request.split(b"\r\n\r\n")[0] for request in requests]
    found = {line for head in heads for line in head.split(b"\r\n") if line.startswith(b"Idempotency-Key")}
    assert len(found) == keys
    assert len(set(requests)) == (1 if body == "replay" else 10)
    assert all(b"Authorization: Bearer T" in head for head in heads)


def test_a_bulk_is_a_batch_of_jobs():
    body = json.loads(a_kind("bulk").next().split(b"\r\n\r\n")[1])

    assert [job["type"] for job in body["jobs"]] == ["email"] * 3
    assert len({job["payload"]["to"] for job in body["jobs"]}) == 3


def test_a_get_has_no_body_and_keeps_its_query():
    assert a_kind("get").next().startswith(b"GET /jobs?limit=5 HTTP/1.1\r\n")


def test_an_answer_without_a_length_is_told():
    with pytest.raises(RuntimeError, match="Content-Length"):
        served(a_kind("single"), answer=b"HTTP/1.1 200 OK\r\n\r\n", connections=1)
