"""Redis is a doorbell and a cache: emptied, killed or away, it costs seconds, never a job and never a duplicate."""

from __future__ import annotations

import pytest
from redis import Redis
from rest_framework_simplejwt.tokens import AccessToken

from jobs import queue, redis_session

pytestmark = pytest.mark.slow

BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}


@pytest.fixture
def redis_url(valkey):
    return valkey.url()


def valkey_client(valkey) -> Redis:
    return Redis.from_url(valkey.url())


def is_somebody_waiting() -> bool:
    """Whether a worker waits for the bell."""
    return any(client["cmd"] == "blmpop" for client in redis_session.server().client_list())


def test_jobs_that_waited_in_an_emptied_redis_are_sent_once_each(platform, smtp, valkey):
    jobs = platform.accept_many(20)
    waiting = queue.depths()["default"]

    valkey.flush()
    platform.start_worker()
    platform.start_scheduler()
    platform.until_status("completed", *jobs)

    assert waiting == 20
    assert len(smtp.accepted) == 20
    platform.assert_books_balance()


def test_a_redis_killed_under_way_slows_the_work_and_workers_come_back_to_it(platform, smtp, valkey):
    worker = platform.start_worker("--concurrency", "4")
    platform.start_scheduler()
    platform.accept_many(100)

    platform.until(lambda: len(smtp.accepted) >= 10)
    valkey.kill()
    accepted_without = platform.accept_many(5)
    platform.until_status("completed")

    assert len(smtp.accepted) == 105
    assert platform.said(worker, "redis_away")

    valkey.start()
    platform.until(is_somebody_waiting)
    by_bell = platform.accept()
    platform.until_status("completed", by_bell)

    assert [platform.copies(job) for job in (*accepted_without, by_bell)] == [1] * 6
    platform.assert_books_balance()


def test_a_redis_that_fell_back_to_an_older_state_repeats_its_calls_and_nothing_else(platform, smtp, valkey):
    jobs = [platform.accept(dedupe_key=f"order-{number}") for number in range(20)]
    with valkey_client(valkey) as client:
        older = {key: client.dump(key) for key in client.scan_iter()}
        platform.start_worker()
        platform.until_status("completed", *jobs)

        client.flushall()
        for key, value in older.items():
            client.restore(key, 0, value)
    duplicate = platform.accept(dedupe_key="order-7")
    platform.until_status("completed", duplicate)
    platform.until(lambda: queue.depths()["default"] == 0)

    assert len(older) == 1
    assert platform.job(duplicate).duplicate_of == jobs[7]
    assert len(smtp.accepted) == 20
    platform.assert_books_balance()


def test_while_redis_hangs_requests_are_accepted_and_jobs_are_sent(platform, smtp, valkey, owner):
    platform.start_worker("--concurrency", "8")
    platform.start_scheduler()
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    platform.accept_many(100)

    platform.until(lambda: len(smtp.accepted) >= 10)
    platform.pause(valkey.child)
    answers = [client.post("/addJob", json=BODY, headers={"Idempotency-Key": f"order-{n}"}) for n in range(3)]
    again = client.post("/addJob", json=BODY, headers={"Idempotency-Key": "order-0"})
    platform.until_status("completed")

    assert [answer.status_code for answer in (*answers, again)] == [202] * 4
    assert again.json()["id"] == answers[0].json()["id"]
    assert len(smtp.accepted) == 103

    platform.resume(valkey.child)
    platform.until(is_somebody_waiting)
    platform.accept()
    platform.until_status("completed")

    assert len(smtp.accepted) == 104
    platform.assert_books_balance()
