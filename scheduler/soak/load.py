"""The clients: a steady rate of posts, whether or not the API keeps up (an open loop), over kept-alive connections.

Threads with http.client: httpx and httpcore take 2.5 ms of CPU a post, this takes 0.25 ms, and the load must not
take the machine from what it loads.
"""

from __future__ import annotations

import json
import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from scheduler.embedded.child import CannotStart

USERNAME, PASSWORD = "soak", "correct horse battery staple"
SENDERS = 24  # posts under way at once; more than the API has threads, so that it is never kept waiting
TIMEOUT_SECONDS = 60.0
GRACE_SECONDS = 1.0
TEXT = "Dear customer,\n\nthank you for your order. It will be on its way tomorrow.\n\nYour shop\n"


class Load:
    """Posts at times that the seed decides (exponential gaps). What it counts may be read while it runs."""

    def __init__(self, api_urls: Sequence[str], *, rate: float, seconds: float, seed: int) -> None:
        self._addresses = [urlsplit(url).netloc for url in api_urls]
        self._rate, self._seconds = rate, seconds
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(SENDERS)]
        self._began = self._due = 0.0
        self._tokens: dict[str, str] = {}
        self.posted = self.missed = 0
        self.accepted_ids = bytearray()  # 16 bytes each
        self.statuses: Counter[str] = Counter()
        self.answer_seconds = array("f")  # of the accepted
        self.late_seconds = array("f")  # how long after its time a post was begun
        self.error: BaseException | None = None

    @property
    def accepted(self) -> int:
        return len(self.accepted_ids) // 16

    @property
    def is_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def sign_in(self) -> None:
        """Before the start; CannotStart when the API does not let us in."""
        with closing(self._connection(0)) as connection:
            credentials = {"username": USERNAME, "password": PASSWORD}
            status, body = self._ask(connection, "/signup", credentials)
            if status not in (200, 201):
                raise CannotStart(f"POST /signup answered {status}: {body!r}")
            self._tokens = json.loads(body)

    def start(self) -> None:
        self._began = self._due = time.monotonic()
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Nothing more is posted."""
        self._stopping.set()

    def stop(self) -> None:
        """What is under way is waited for."""
        self.ask_to_stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(TIMEOUT_SECONDS)

    # ── One sender ────────────────────────────────────────────────────────────────────────────

    def _send(self, sender: int) -> None:
        try:
            with closing(self._connection(sender)) as connection:
                while (post := self._next()) is not None:
                    number, due = post
                    if self._stopping.wait(max(0.0, due - time.monotonic())):
                        return
                    self._post(connection, number, due)
        except BaseException as error:
            self.error = error

    def _next(self) -> tuple[int, float] | None:
        """The number of the next post and its time. What cannot be begun before the end, because the API was too slow
        for those before it, is missed."""
        with self._lock:
            while True:
                self._due += self._chance.expovariate(self._rate)
                if self._due - self._began > self._seconds:
                    return None
                if time.monotonic() - self._began <= self._seconds + GRACE_SECONDS:
                    self.posted += 1
                    return self.posted, self._due
                self.missed += 1

    def _post(self, connection: HTTPConnection, number: int, due: float) -> None:
        body = {
            "type": "email",
            "payload": {"to": f"customer{number}@example.org", "subject": f"Order {number}", "text": TEXT},
        }
        began, token = time.monotonic(), self._tokens["access_token"]
        try:
            status, answer = self._ask(connection, "/jobs", body, token)
            if status == 401:
                self._renew(connection, instead_of=token)
                status, answer = self._ask(connection, "/jobs", body, self._tokens["access_token"])
        except (OSError, HTTPException) as error:
            connection.close()  # opened again by the next request
            self._note(type(error).__name__, due, began)
        else:
            self._note(str(status), due, began, answer if status == 202 else None)

    def _note(self, status: str, due: float, began: float, answer: bytes | None = None) -> None:
        took = time.monotonic() - began
        job = bytes.fromhex(json.loads(answer)["id"].replace("-", "")) if answer is not None else b""
        with self._lock:
            self.statuses[status] += 1
            self.late_seconds.append(began - due)
            if job:
                self.accepted_ids += job
                self.answer_seconds.append(took)

    def _renew(self, connection: HTTPConnection, *, instead_of: str) -> None:
        """The access token has ended. Whoever finds a new one already there uses that."""
        with self._renewing:
            if self._tokens["access_token"] == instead_of:
                status, body = self._ask(connection, "/refreshToken", {"refresh_token": self._tokens["refresh_token"]})
                if status != 200:
                    raise CannotStart(f"POST /refreshToken answered {status}: {body!r}")
                self._tokens = json.loads(body)

    def _connection(self, sender: int) -> HTTPConnection:
        return HTTPConnection(self._addresses[sender % len(self._addresses)], timeout=TIMEOUT_SECONDS)

    def _ask(self, connection: HTTPConnection, path: str, body: Any, token: str = "") -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", path, body=json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
