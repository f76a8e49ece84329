"""The clients do what careful clients do, against an API with a will of its own."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scheduler.embedded.child import wait_for
from scheduler.torture.clients import Clients
from scheduler.torture.plan import Plan, PlannedJob

HANG_UP = 0


class MoodyApi(BaseHTTPRequestHandler):
    """Answers with what stands in `moods`, then with 202. Job ids are the keys, or numbers of their own."""

    moods: deque[int]
    heard: list[tuple[str, str | None, str | None]]
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path in ("/login", "/signup"):
            self.answer(201 if self.path == "/signup" else 401, {"access_token": "let me in"})
            return
        if self.headers["Authorization"] != "Bearer let me in":
            self.answer(401, {})
            return
        key = self.headers["Idempotency-Key"]
        with self.lock:
            self.heard.append((self.path, key, body["name"]))
            mood = self.moods.popleft() if self.moods else 202
        if mood == HANG_UP:
            self.close_connection = True
            return
        self.answer(mood, {"id": key or f"job {len(self.heard)}"})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[tuple[str, type[MoodyApi]]]:
    moody = type("Moody", (MoodyApi,), {"moods": deque(), "heard": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), moody)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", moody
    server.shutdown()
    server.server_close()
    thread.join()


def job(number: int = 1, *, key: str | None = "key", **options: Any) -> PlannedJob:
    return PlannedJob(number, 0.0, "/jobs", {"name": f"{number}"}, "j@x", group="", key=key, **options)


def submit(url: str, *jobs: PlannedJob) -> Clients:
    clients = Clients(Plan(1, 1.0, list(jobs), {}, []), [url])
    clients.start()
    assert wait_for(lambda: clients.is_done, within=60)
    assert clients.error is None
    return clients


def test_a_job_is_submitted_under_its_key_and_its_answer_is_kept(api):
    url, moody = api

    clients = submit(url, job())

    assert [(a.number, a.job, a.is_replay) for a in clients.answers] == [(1, "key", False)]
    assert moody.heard == [("/jobs", "key", "1")]
    assert clients.refusals == []


@pytest.mark.parametrize("mood", [503, 500, 409, 429, HANG_UP])
def test_what_is_not_final_is_asked_again_under_the_same_key(api, mood):
    url, moody = api
    moody.moods.extend([mood, mood])

    clients = submit(url, job())

    assert moody.heard == [("/jobs", "key", "1")] * 3
    assert len(clients.answers) == 1
    assert len(clients.losses) == (0 if mood in (409, 429) else 2), "what a 5xx answered may have been done"
    assert [complaint.status for complaint in clients.complaints] == ([mood] * 2 if mood >= 500 else [])


def test_a_final_refusal_is_kept_and_not_asked_again(api):
    url, moody = api
    moody.moods.append(422)

    clients = submit(url, job())

    assert len(moody.heard) == 1
    assert clients.answers == []
    assert [refusal.said[:3] for refusal in clients.refusals] == ["422"]


def test_many_clients_submit_one_key_at_once(api):
    url, moody = api

    clients = submit(url, job(clients=8))

    assert moody.heard == [("/jobs", "key", "1")] * 8
    assert {answer.job for answer in clients.answers} == {"key"}


def test_a_job_is_submitted_once_more_later(api):
    url, moody = api

    submit(url, job(again_after=0.2))

    assert len(moody.heard) == 2


def test_who_stops_leaves_what_is_to_come(api):
    url, moody = api
    clients = Clients(Plan(1, 1.0, [job(again_after=3600.0)], {}, []), [url])
    clients.start()
    assert wait_for(lambda: bool(moody.heard), within=60)

    clients.stop()

    assert clients.is_done
    assert clients.error is None
