"""Many clients at once, on real connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from rest_framework_simplejwt.tokens import AccessToken

from jobs import queue
from jobs.models import Job
from tests.jobs.conftest import Caller, being_accepted

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"email": "ann@example.org", "name": "Ann"}
CLIENTS = 50


@pytest.mark.parametrize("redis_knows", [True, False])
def test_fifty_clients_with_one_key_make_one_job_and_hear_the_same(make_user, monkeypatch, redis_knows):
    if not redis_knows:
        monkeypatch.setattr(queue, "recall_keys", lambda keys: {})
    user = make_user()
    start = Barrier(CLIENTS)

    def ask(_: int):
        caller = Caller(user)
        start.wait(30)
        try:
            return caller.post("/addJob", BODY, Idempotency_Key="once")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(CLIENTS)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer for answer in answers) == CLIENTS - 1
    assert Job.objects.count() == 1


@pytest.mark.slow
def test_a_key_that_is_still_being_accepted_is_answered_with_ask_again(caller):
    with being_accepted(BODY, owner_id=caller.user.id, key="slow"):
        meanwhile = caller.post("/addJob", BODY, Idempotency_Key="slow")
    after = caller.post("/addJob", BODY, Idempotency_Key="slow")

    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_key_in_flight")
    assert meanwhile["Retry-After"] == "1"
    assert (after.status_code, after["Idempotency-Replayed"]) == (202, "true")


def test_a_token_whose_user_is_gone_is_refused_and_accepts_nothing(make_user):
    user = make_user()
    token = str(AccessToken.for_user(user))
    User.objects.filter(pk=user.pk).delete()

    answer = Caller(None, token).post("/addJob", BODY)

    assert (answer.status_code, answer.json()["code"]) == (401, "user_not_found")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert Job.objects.count() == 0


def test_a_connection_that_broke_is_answered_with_503_and_the_next_request_works(caller):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_terminate, pid).result(10)

    broken = caller.post("/addJob", BODY)
    after = caller.post("/addJob", BODY)

    assert (broken.status_code, broken.json()["code"]) == (503, "unavailable")
    assert int(broken["Retry-After"]) > 0
    assert after.status_code == 202


def _terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connection.close()
