"""The crash matrix (DESIGN §4.8) around Redis: a process dies between its commit and what it would tell Redis."""

from __future__ import annotations

import threading
from contextlib import suppress

import httpx
import pytest
from rest_framework_simplejwt.tokens import AccessToken

from jobs import queue
from jobs.models import Job
from scheduler.embedded.faulty_smtp import AFTER_DOT

pytestmark = pytest.mark.slow

BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}


@pytest.fixture
def redis_url(valkey):
    return valkey.url()


def restart_empty(valkey):
    """What was written to a paused server would still arrive when it goes on; a killed one forgets it."""
    valkey.kill()
    valkey.start()


def test_an_api_that_dies_between_commit_and_push(platform, smtp, valkey, owner):
    api, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"

    def ask():
        with suppress(httpx.TransportError):
            client.post("/addJob", json=BODY)

    asking = threading.Thread(target=ask)
    platform.pause(valkey.child)
    asking.start()
    platform.until(Job.objects.exists)
    api.kill()
    asking.join()
    restart_empty(valkey)

    assert not platform.said(api, "job_accepted")
    assert queue.depths()["default"] == 0
    platform.start_worker()
    platform.start_scheduler()
    platform.until_status("completed")
    assert len(smtp.accepted) == 1
    platform.assert_books_balance()


def test_a_worker_that_dies_between_settlement_and_l1(platform, smtp, valkey):
    late_reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept(dedupe_key="order-42")
    dying = platform.start_worker()
    platform.until(lambda: late_reply.is_reached)

    platform.pause(valkey.child)
    late_reply.release()
    platform.until_status("completed", job_id)
    dying.kill()
    restart_empty(valkey)
    duplicate = platform.accept(dedupe_key="order-42")
    worker = platform.start_worker()
    platform.until_status("completed", duplicate)

    assert platform.job(duplicate).duplicate_of == job_id
    assert [line["tier"] for line in platform.said(worker, "duplicate_suppressed")] == ["l2"]
    assert len(smtp.accepted) == 1
    platform.assert_books_balance()
