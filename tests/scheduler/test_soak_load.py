"""The soak's two ends: clients that post at a steady rate whatever the API does, and an SMTP server that counts."""

from __future__ import annotations

import json
import smtplib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from scheduler.embedded.child import CannotStart, Child, free_port, is_port_free, wait_for
from scheduler.soak import sink
from scheduler.soak.load import GRACE_SECONDS, SENDERS, Load

pytestmark = pytest.mark.usefixtures("no_thread_stays")

ROOT = Path(__file__).parents[2]


class Api(BaseHTTPRequestHandler):
    """A 202 and an id for each job; tokens are good for so many posts."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    posts_per_token = 10**9
    answer_with = 202
    hold: threading.Event | None = None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.route(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def route(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        of = type(self)
        if self.path in ("/signup", "/refreshToken"):
            with self.lock:
                of.tokens += 1
            return (201 if self.path == "/signup" else 200), self.token()
        with self.lock:
            if self.headers["Authorization"] != f"Bearer {self.token()['access_token']}":
                return 401, {}
            of.used += 1
            if of.used > of.posts_per_token * of.tokens:
                return 401, {}
            of.connections.add(self.client_address)
            if of.answer_with == 202:
                of.jobs.append(uuid4())
                job = of.jobs[-1]
        if of.hold:
            of.hold.wait(20)
        return of.answer_with, {"id": str(job)} if of.answer_with == 202 else {}

    def token(self) -> dict[str, str]:
        return {"access_token": f"token {type(self).tokens}", "refresh_token": "refresh"}

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Any]:
    handler = type("ThisApi", (Api,), {"jobs": [], "tokens": 0, "used": 0, "connections": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def post(api: Any, *, rate: float = 200.0, seconds: float = 0.5) -> Load:
    load = Load([api.url], rate=rate, seconds=seconds, seed=1)
    load.sign_in()
    load.start()
    assert wait_for(lambda: load.is_done, within=60)
    assert load.error is None
    return load


def drawn(load: Load) -> int:
    return load.posted + load.missed


def ids(load: Load) -> list[UUID]:
    raw = bytes(load.accepted_ids)
    return [UUID(bytes=raw[at : at + 16]) for at in range(0, len(raw), 16)]


def test_every_accepted_job_is_remembered_and_connections_are_kept(api):
    load = post(api)

    assert load.statuses == {"202": load.posted}
    assert sorted(ids(load)) == sorted(api.jobs)
    assert load.accepted == load.posted == len(load.answer_seconds)
    assert len(api.connections) <= SENDERS < load.posted


def test_the_seed_decides_how_many_and_when(api):
    first, again = (drawn(post(api)) for _ in range(2))

    assert first == again
    assert 60 <= first <= 140  # 0.5 s at 200/s


def test_the_end_of_a_token_is_met_by_renewing_it(api):
    api.posts_per_token = 30

    load = post(api)

    assert load.statuses == {"202": load.posted}
    assert api.tokens >= 3


def test_an_api_that_hangs_does_not_slow_the_clock_down(api):
    """The posts that could not be begun are missed: the rate that was asked for is known, and what was reached."""
    api.hold = threading.Event()
    load = Load([api.url], rate=200.0, seconds=0.5, seed=1)
    load.sign_in()
    over = time.monotonic() + 0.5 + GRACE_SECONDS
    load.start()
    assert wait_for(lambda: len(api.jobs) == SENDERS and time.monotonic() > over + 0.1, within=60)
    api.hold.set()
    assert wait_for(lambda: load.is_done, within=60)

    assert load.posted == load.accepted == SENDERS
    assert load.missed == drawn(post(api)) - SENDERS


def test_answers_that_are_no_202_are_counted_by_their_status(api):
    api.answer_with = 503

    load = post(api)

    assert load.statuses == {"503": load.posted}
    assert load.accepted == 0


def test_an_api_that_goes_away_is_counted_by_the_error(api):
    load = Load(["http://127.0.0.1:9"], rate=100.0, seconds=0.2, seed=1)
    load._tokens = {"access_token": "any"}
    load.start()
    assert wait_for(lambda: load.is_done, within=60)

    assert load.statuses == {"ConnectionRefusedError": load.posted}


def test_who_is_not_let_in_is_told(api):
    api.route = lambda self, body: (403, {"detail": "closed"})

    with pytest.raises(CannotStart, match="POST /signup answered 403"):
        Load([api.url], rate=1, seconds=1, seed=1).sign_in()


# ── The SMTP server ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(tmp_path):
    port, tally = free_port(), tmp_path / "tally"
    command = [sys.executable, "-W", "error", "-m", sink.__name__, "--port", str(port), "--tally", tally]
    process = Child("sink", command, log=tmp_path / "sink.log", cwd=ROOT)
    process.start()
    process.wait_until(lambda: not is_port_free(port), within=60)
    yield process, port, tally
    process.stop()
    assert process.log.read_text() == ""


def test_the_server_counts_each_job_and_a_kill_loses_none(server):
    process, port, tally = server
    jobs = [uuid4(), uuid4(), uuid4()]
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        for job in [*jobs, jobs[0]]:
            client.sendmail("a@example.org", ["b@example.org"], f"Subject: Hi\r\nX-Job-ID: {job}\r\n\r\nHi.\r\n")
        client.sendmail("a@example.org", ["b@example.org"], f"Subject: Hi\r\n\r\nX-Job-ID: {jobs[1]}\r\n")
    process.kill()

    assert sink.count(tally) == 5
    assert sink.read(tally) == Counter({jobs[0].bytes: 2, jobs[1].bytes: 1, jobs[2].bytes: 1, sink.NOBODY: 1})


def test_a_tally_that_was_not_begun_is_empty(tmp_path):
    assert sink.count(tmp_path / "nothing") == 0
