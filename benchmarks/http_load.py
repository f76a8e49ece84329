"""HTTP clients that cost next to nothing: a few kept connections, each with one request under way (a closed loop).

    python -m benchmarks.http_load http://127.0.0.1:8000/jobs --token T --seconds 5 --connections 8 --body single

Prints JSON: requests, seconds, statuses, p50_ms, p99_ms. Bodies are made from a template, so that a request costs some
30 µs here; a client library takes more time for one than the server that is measured. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import cast
from urllib.parse import urlsplit

from benchmarks.letter import TEXT

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BODIES = ("single", "bulk", "replay", "get")


class Requests:
    """Whole requests as bytes, each different but for `replay` and `get`."""

    def __init__(self, url: str, *, token: str, body: str, bulk: int) -> None:
        self._parts, self._token, self._bulk = urlsplit(url), token, bulk
        self._numbers = count(1)
        self._kind = body
        self._run = str(time.time_ns())

    def next(self) -> bytes:
        if self._kind == "get":
            return self._bytes("GET", b"")
        if self._kind == "replay":
            return self._bytes("POST", self._job(0), key=f"{self._run}-0")
        if self._kind == "bulk":
            jobs = b",".join(self._job(next(self._numbers)) for _ in range(self._bulk))
            return self._bytes("POST", b'{"jobs":[' + jobs + b"]}")
        number = next(self._numbers)
        return self._bytes("POST", self._job(number), key=f"{self._run}-{number}")

    def _job(self, number: int) -> bytes:
        payload = {"to": f"customer{number}@example.org", "subject": f"Order {number}", "text": TEXT}
        return json.dumps({"type": "email", "payload": payload}).encode()

    def _bytes(self, method: str, body: bytes, *, key: str = "") -> bytes:
        path = self._parts.path + (f"?{self._parts.query}" if self._parts.query else "")
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._parts.netloc}",
            f"Authorization: Bearer {self._token}",
            *((f"Idempotency-Key: {key}",) if key else ()),
            *(("Content-Type: application/json", f"Content-Length: {len(body)}") if body else ()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """Asks, waits, and asks again, until `go_on` says no."""

    def __init__(self, requests: Requests, note: Callable[[int, float], None], go_on: Callable[[], bool]) -> None:
        self._requests, self._note, self._go_on = requests, note, go_on
        self._buffer = bytearray()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = LENGTH.search(self._buffer, 0, head + 2)
        if length is None:
            self.over.set_exception(RuntimeError(f"No Content-Length in {bytes(self._buffer[:200])!r}"))
            return
        if len(self._buffer) < head + 4 + int(length[1]):
            return
        self._note(int(self._buffer[9:12]), time.perf_counter() - self._asked_at)
        self._buffer.clear()
        if self._go_on():
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _ask(self) -> None:
        request = self._requests.next()
        self._asked_at = time.perf_counter()
        self._transport.write(request)


async def load(requests: Requests, host: str, port: int, *, seconds: float, connections: int) -> dict[str, object]:
    statuses: Counter[int] = Counter()
    times: list[float] = []
    began = time.perf_counter()

    def note(status: int, took: float) -> None:
        statuses[status] += 1
        times.append(took)

    async def one() -> None:
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(requests, note, lambda: time.perf_counter() - began < seconds), host, port
        )
        try:
            await connection.over
        finally:
            transport.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - began
    points = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    return {
        "requests": len(times),
        "seconds": took,
        "statuses": {str(status): n for status, n in statuses.items()},
        "p50_ms": points[49] * 1000,
        "p99_ms": points[98] * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--body", choices=BODIES, default="single")
    parser.add_argument("--bulk", type=int, default=100, help="jobs in one request of --body bulk")
    options = parser.parse_args()
    address = urlsplit(options.url)
    requests = Requests(options.url, token=options.token, body=options.body, bulk=options.bulk)
    found = asyncio.run(
        load(
            requests,
            address.hostname or "127.0.0.1",
            address.port or 80,
            seconds=options.seconds,
            connections=options.connections,
        )
    )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
