"""Callers of the API, and rows in the states that tests need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken
from uuid_utils.compat import uuid7

from jobs import intake, requests
from jobs.intake import dedupe_hash
from jobs.models import DeadLetter, Delivery, Job, Schedule

EMAIL: dict[str, Any] = {"to": "ann@example.org", "subject": "Hello", "text": "Hi."}

_numbers = itertools.count(1)


class Caller:
    """A client of the API with a token of its own."""

    def __init__(self, user: User | None, token: str | None = None) -> None:
        self.user = user
        self.client = Client()
        token = token or (str(AccessToken.for_user(user)) if user else None)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, params: dict[str, Any] | None = None, **headers: str) -> HttpResponse:
        return self.client.get(path, params, headers=self.headers | _spelled(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self._send("POST", path, body, headers)

    def put(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self._send("PUT", path, body, headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        return self._send("DELETE", path, None, headers)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> HttpResponse:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else b""
        return self.client.generic(
            method, path, raw, "application/x-www-form-urlencoded", headers=self.headers | _spelled(headers)
        )

    def add(self, **body: Any) -> HttpResponse:
        return self.post("/addJob", {"type": "email", "payload": EMAIL} | body)


@contextmanager
def being_accepted(body: dict[str, Any], *, owner_id: int, key: str) -> Iterator[None]:
    """Inside, somebody is accepting this job and has not committed; Redis has heard of the key already."""
    inserted, leave = Event(), Event()

    def accept_slowly() -> None:
        with transaction.atomic():
            intake.accept(requests.read(body, idempotency_key=key), owner_id=owner_id, correlation_id="c")
            inserted.set()
            leave.wait(30)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(accept_slowly)
        try:
            assert inserted.wait(10)
            yield
        finally:
            leave.set()
        slow.result(10)


def _spelled(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(**fields: Any) -> User:
        return User.objects.create(username=f"user{next(_numbers)}", **fields)

    return make


@pytest.fixture
def caller(make_user: Callable[..., User]) -> Caller:
    return Caller(make_user())


@pytest.fixture
def stranger(make_user: Callable[..., User]) -> Caller:
    return Caller(make_user())


@pytest.fixture
def nobody(db: None) -> Caller:
    return Caller(None)


def make_job(owner: User, **columns: Any) -> Job:
    """A queued email job of this owner, or what `columns` make of it."""
    job_id, now = uuid7(), timezone.now()
    given: dict[str, Any] = {
        "id": job_id,
        "owner": owner,
        "type": "email",
        "priority": "default",
        "status": "queued",
        "accepted_as": "queued",
        "payload": EMAIL,
        "recipients": ["ann@example.org"],
        "correlation_id": "made-by-a-test",
        "fingerprint": b"0" * 16,
        "dedupe_hash": dedupe_hash(owner.pk, None, job_id=job_id),
        "max_attempts": 5,
        "run_at": now,
        "on_unknown": "hold",
        "created_at": now,
        "updated_at": now,
    }
    if columns.get("status") in {"completed", "failed", "cancelled", "expired"}:
        given["finished_at"] = now
    return Job.objects.create(**given | columns)


def make_dead_letter(owner: User, *, reason: str = "permanent", **columns: Any) -> DeadLetter:
    """A dead letter that nobody has decided, with its job and, for an unknown, its delivery."""
    error = {"kind": "refused", "code": 550, "detail": "No such user"}
    status = "unknown" if reason == "unknown" else "failed"
    claim = next(_numbers)
    job = make_job(owner, status=status, claim=claim, attempts=1, last_error=error)
    if reason == "unknown":
        now = timezone.now()
        Delivery.objects.create(
            dedupe_hash=job.dedupe_hash,
            job_id=job.id,
            claim=claim,
            state="unknown",
            claimed_at=now,
            dot_at=now,
        )
    given = {"job": job, "owner": owner, "type": job.type, "reason": reason, "error": error, "claim": claim}
    return DeadLetter.objects.create(**given | {"died_at": timezone.now() - timedelta(seconds=1)} | columns)


def make_schedule(owner: User, **columns: Any) -> Schedule:
    """A schedule of this owner, for an email at every full hour, or what `columns` make of it."""
    now = timezone.now()
    given: dict[str, Any] = {
        "id": uuid7(),
        "owner": owner,
        "name": f"schedule {next(_numbers)}",
        "cron": "0 * * * *",
        "time_zone": "UTC",
        "missed": "once",
        "type": "email",
        "payload": EMAIL,
        "next_at": None if columns.get("paused") else now + timedelta(hours=1),
        "created_at": now,
        "updated_at": now,
    }
    return Schedule.objects.create(**given | columns)
