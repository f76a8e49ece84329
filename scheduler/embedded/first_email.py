"""Sends one email through the whole road, over HTTP as a client would, and follows it to its end."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobs.states import FINAL, Status
from scheduler.embedded.child import CannotStart, wait_for

SETTLED = FINAL | {Status.UNKNOWN}  # an unknown waits for a person; there is nothing more to follow


@dataclass
class Trip:
    """What was seen of one job: each status and the seconds since it was accepted."""

    job_id: str
    statuses: list[tuple[str, float]] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return bool(self.statuses) and self.statuses[-1][0] in SETTLED

    @property
    def message_id(self) -> str:
        return (self.job.get("result") or {}).get("message_id") or ""


class Api:
    """The few calls that the first start makes."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.token = ""
        # A proxy of the environment has no business between us and 127.0.0.1.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_ready(self) -> bool:
        try:
            return self._call("GET", "/health/ready")[0] == 200
        except OSError:
            return False

    def login(self, username: str, password: str) -> None:
        self.token = self._wanted("POST", "/login", {"username": username, "password": password})["access_token"]

    def send_welcome(self, address: str, name: str) -> Trip:
        """The general form with a key of its own: {"email", "name"} alone would be sent once, ever."""
        body = {
            "type": "welcome_email",
            "payload": {"email": address, "name": name},
            "idempotency_key": f"first-email-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}",
        }
        return Trip(self._wanted("POST", "/addJob", body)["id"])

    def follow(
        self, trip: Trip, *, within: float, seen: Callable[[str, float], None], watch: Callable[[], None] | None = None
    ) -> None:
        """Look until the status is settled or the seconds are over; `seen` hears of each change."""
        started = time.monotonic()

        def look() -> bool:
            trip.job = self._wanted("GET", f"/jobs/{trip.job_id}")
            status = trip.job["status"]
            if not trip.statuses or trip.statuses[-1][0] != status:
                trip.statuses.append((status, time.monotonic() - started))
                seen(*trip.statuses[-1])
            return trip.is_settled

        wait_for(look, within=within, watch=watch)

    def _wanted(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            status, text = self._call(method, path, body)
        except OSError as error:
            raise CannotStart(f"{method} {path} got no answer: {error}") from error
        if status >= 300 or not text.startswith("{"):
            raise CannotStart(f"{method} {path} answered {status}: {text.strip()[:500]}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, content, headers, method=method)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode(errors="replace")
