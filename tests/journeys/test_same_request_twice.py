"""A client that asks twice, however it does so and whatever Redis remembers, causes one email."""

from __future__ import annotations

import httpx
import pytest
from rest_framework_simplejwt.tokens import AccessToken

from jobs import queue, redis_session
from jobs.models import Job
from scheduler.embedded.child import free_port
from tests.conftest import until
from tests.journeys.platform import metric

pytestmark = pytest.mark.slow

BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}
WELCOME = {"email": "bob@example.com", "name": "Bob"}


def redis_knows_what_was_sent():
    return queue.SENT in redis_session.server().mget(redis_session.server().keys("sendonce:gate:*"))


def forget_all():
    redis_session.server().flushdb()


def test_an_idempotency_key_leads_to_one_job_whatever_redis_remembers(platform, smtp, owner):
    platform.start_worker()
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    key = {"Idempotency-Key": '"order-42"'}

    first = client.post("/addJob", json=BODY, headers=key)
    again = client.post("/addJob", json=BODY, headers=key)
    platform.until_status("completed")
    forget_all()
    later = client.post("/addJob", json=BODY, headers=key)
    other = client.post("/addJob", json=WELCOME, headers=key)

    assert first.json()["id"] == again.json()["id"] == later.json()["id"]
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in (first, again, later)]
    assert replayed == [None, "true", "true"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (Job.objects.count(), len(smtp.accepted)) == (1, 1)
    platform.assert_books_balance()


def test_the_same_welcome_is_sent_once_and_each_tier_counts_what_it_suppressed(platform, smtp):
    port = free_port()
    worker = platform.start_worker("--metrics-port", str(port))

    first = platform.accept_body(WELCOME)
    platform.until_status("completed")
    until(redis_knows_what_was_sent)  # which is after the commit
    by_redis = platform.accept_body(WELCOME)
    platform.until_status("completed")
    forget_all()
    by_postgres = platform.accept_body(WELCOME)
    platform.until_status("completed")

    assert {platform.job(job).duplicate_of for job in (by_redis, by_postgres)} == {first}
    assert platform.job(by_redis).result["duplicate_of"] == str(first)
    assert len(smtp.accepted) == 1
    assert [line["tier"] for line in platform.said(worker, "duplicate_suppressed")] == ["l1", "l2"]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert [metric(text, "duplicates_suppressed_total", tier=tier) for tier in ("l1", "l2")] == [1, 1]
    platform.assert_books_balance()


def test_two_jobs_of_one_key_at_the_same_time_send_one_email(platform, smtp):
    platform.start_worker()
    platform.start_worker()
    platform.start_scheduler()

    jobs = [platform.accept(dedupe_key="the-same") for _ in range(10)]
    platform.until_status("completed", *jobs)

    sent = [job for job in jobs if platform.job(job).duplicate_of is None]
    assert len(sent) == len(smtp.accepted) == 1
    assert {platform.job(job).duplicate_of for job in jobs} == {None, sent[0]}
    platform.assert_books_balance()
