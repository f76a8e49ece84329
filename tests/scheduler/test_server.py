"""The API as it is really served: one /metrics for several processes, bodies and heads, and every kind of end."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from scheduler import server
from scheduler.embedded.child import free_port
from scheduler.embedded.guardian import is_running
from tests.conftest import until

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = 40
HEAD = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Api:
    """Two processes on a port of their own, and their parent. Temporary files are in `folder`, for the test to see."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = start(self.port, TMPDIR=str(folder))
        until(self.is_live, within=60)

    @property
    def pids(self) -> set[int]:
        """Those that answer."""
        return {child.pid for child in psutil.Process(self.process.pid).children() if is_running(child.pid)}

    def is_live(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/live").status_code == 200
        return False

    def counted(self) -> int:
        """All GET requests that began, over all processes."""
        text = httpx.get(f"{self.url}/metrics").text
        found = re.search(r"^django_http_requests_before_middlewares_total (\d+)", text, re.M)
        assert found, text[:500]
        return int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, *parts: bytes) -> tuple[int, Any]:
        """The status and the JSON of the answer to these bytes."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return answer(connection)


def start(port: int, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scheduler.server", "--bind", f"127.0.0.1:{port}", "--processes", "2"]
    # Tests have no collected static files.
    env = {**os.environ, "LOG_FORMAT": "json", "PYTHONWARNINGS": "ignore", **variables}
    return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)


def answer(connection: socket.socket) -> tuple[int, Any]:
    reader = connection.makefile("rb")
    status = int(reader.readline().split()[1])
    headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
    body = reader.read(int(headers.get(b"content-length", 0)))
    return status, json.loads(body) if body else None


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    served = Api(tmp_path)
    yield served
    with suppress(ProcessLookupError):
        os.killpg(served.process.pid, signal.SIGKILL)
    served.process.communicate()


# ── Several processes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_every_process_tells_what_all_of_them_counted(api: Api) -> None:
    before = api.counted()

    for _ in range(REQUESTS):
        httpx.get(f"{api.url}/health/live")  # a connection each: both processes take some

    for asked in range(8):
        assert api.counted() == before + REQUESTS + asked + 1  # and the questions themselves


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_what_it_counted_stays(api: Api, tmp_path: Path) -> None:
    (folder,) = tmp_path.glob("sendonce-api-metrics-*")
    before, pids = api.counted(), api.pids
    victim = min(pids)
    alive = folder / f"gauge_livesum_{victim}.db"
    alive.touch()

    os.kill(victim, signal.SIGKILL)

    until(lambda: len(api.pids) == 2 and victim not in api.pids, within=20)
    until(lambda: not alive.exists(), within=20)  # it has begun, and forgets what only the living say
    until(api.is_live, within=20)
    assert api.counted() > before


# ── The end ───────────────────────────────────────────────────────────────────────────────────


def _to_parent(api: Api) -> None:
    api.process.terminate()


def _to_all(api: Api) -> None:
    os.killpg(api.process.pid, signal.SIGTERM)


def _ctrl_c(api: Api) -> None:
    os.killpg(api.process.pid, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("ask_to_stop", [_to_parent, _to_all, _ctrl_c])
def test_it_ends_in_order_answers_what_is_under_way_and_leaves_nothing(
    api: Api, tmp_path: Path, ask_to_stop: Callable[[Api], None]
) -> None:
    assert list(tmp_path.glob("sendonce-api-metrics-*/*.db"))
    pids = api.pids
    with api.connect() as under_way, api.connect() as idle:
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer(idle)[0] == 200  # it stays open, and nobody waits for it
        under_way.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert under_way.recv(100).startswith(b"HTTP/1.1 100 ")  # a thread reads

        ask_to_stop(api)
        until(lambda: not api.is_live(), within=10)
        under_way.sendall(b"{}")

        assert answer(under_way)[0] == 400
    _, errors = api.process.communicate(timeout=server.GRACEFUL_SECONDS / 2)
    assert api.process.returncode == 0
    assert not [pid for pid in pids if is_running(pid)]
    assert not list(tmp_path.glob("sendonce-api-metrics-*"))
    assert all(line.startswith("{") for line in errors.splitlines()), errors


@pytest.mark.slow
def test_who_never_finishes_a_request_does_not_hold_up_the_end(api: Api) -> None:
    with api.connect() as under_way:
        under_way.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert under_way.recv(100)

        api.process.terminate()
        api.process.communicate(timeout=server.GRACEFUL_SECONDS + 10)

    assert api.process.returncode == 0


@pytest.mark.slow
def test_a_killed_parent_leaves_no_process(api: Api) -> None:
    pids = api.pids

    api.process.kill()

    until(lambda: not any(map(is_running, pids)), within=10)


# ── The beginning ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_two_cannot_serve_one_port(api: Api) -> None:
    other = start(api.port)
    _, errors = other.communicate(timeout=30)

    assert other.returncode == 1
    assert errors == f"sendonce: 127.0.0.1:{api.port} cannot be served: Address already in use.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::]:1", ("::", 1)), ("0.0.0.0:80", ("0.0.0.0", 80))],
)
def test_an_address_has_a_port(text: str, expected: tuple[str, int]) -> None:
    assert server.address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "here:80"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"as in 127\.0\.0\.1:8000"):
        server.address(text)


# ── Requests ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_bodies_and_heads(api: Api) -> None:
    """In one test, for they need one server: a start takes a second."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    get = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"

    # A chunked body is read, and its fields are what is missing.
    status, told = api.ask(chunked, b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n")
    assert (status, sorted(told["errors"])) == (400, ["password", "username"])

    # One that never ends is refused while it comes, and so is one that says how long it will be.
    assert _endless(api, chunked) == 413
    assert api.ask(HEAD + b"Content-Length: 900000000\r\n\r\n")[0] == 413

    # So are heads that are too long, have too many lines, or are none.
    assert api.ask(get + b"X-A: " + b"a" * 8 * server.HEAD_BYTES + b"\r\n\r\n")[0] == 431
    assert api.ask(get + b"".join(b"X-%d: a\r\n" % n for n in range(120)) + b"\r\n")[0] == 431
    assert api.ask(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 414
    assert api.ask(b"HELO localhost\r\n\r\n")[0] == 400
    assert api.ask(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n1")[0] == 400

    # HEAD has the length of a body and no body; the connection goes on.
    with httpx.Client(base_url=api.url) as client:
        for _ in range(2):
            head = client.head("/health/live")
            assert (head.status_code, head.headers["content-length"], head.content) == (200, "15", b"")


def _endless(api: Api, head: bytes) -> int:
    piece = b"10000\r\n" + b"1" * 0x10000 + b"\r\n"
    with api.connect() as connection:
        connection.sendall(head)
        with suppress(ConnectionError):  # it stops listening once it has said so
            for _ in range(1_000):
                connection.sendall(piece)
        return answer(connection)[0]


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("127.0.0.1", "https", "https"),
        ("::1", "https", "https"),
        ("127.0.0.1", "http", "http"),
        ("127.0.0.1", None, "http"),
        ("192.0.2.1", "https", "http"),
    ],
)
def test_only_a_proxy_on_this_machine_is_believed_about_tls(peer: str, said: str | None, scheme: str) -> None:
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"} | ({"HTTP_X_FORWARDED_PROTO": said} if said else {})

    server.answer(lambda seen, _: seen["wsgi.url_scheme"], environ, lambda *_: None)

    assert environ["wsgi.url_scheme"] == scheme


def test_a_request_does_not_carry_the_environment_of_the_process():
    """granian's wsgi.py: `dict(os.environ)` under what the request says."""
    said = {"REMOTE_ADDR": "192.0.2.1", "wsgi.url_scheme": "http", "HTTP_HOST": "localhost", "PATH_INFO": "/jobs"}
    environ = dict(os.environ) | said
    assert "PATH" in environ

    server.answer(lambda *_: None, environ, lambda *_: None)

    assert "PATH" not in environ
    assert environ.items() >= said.items()
