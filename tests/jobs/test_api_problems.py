import logging

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from jobs import intake
from jobs.models import Job

PROBLEM = "application/problem+json"


def test_every_error_has_one_shape(caller):
    answer = caller.post("/addJob", {"type": "fax", "payload": {}}, X_Correlation_ID="mine")

    body = answer.json()
    assert answer["Content-Type"] == PROBLEM
    assert set(body) == {"type", "title", "status", "detail", "code", "correlation_id", "errors"}
    assert (body["type"], body["title"], body["status"]) == ("about:blank", "Bad Request", 400)
    assert body["correlation_id"] == answer["X-Correlation-ID"] == "mine"


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/", "/addJob/", "/jobs/not-an-id", "/failedJobs/x", "/jobs/1/2/3"])
@pytest.mark.parametrize("debug", [True, False])
def test_an_address_that_leads_nowhere_is_a_problem_too(caller, settings, path, debug):
    settings.DEBUG = debug

    answer = caller.get(path)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (404, PROBLEM, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/addJob"), ("DELETE", "/jobs"), ("OPTIONS", "/login"), ("PUT", "/health")]
)
def test_a_method_that_is_not_there_names_those_that_are(caller, method, path):
    answer = caller.client.generic(method, path, headers=caller.headers)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (405, PROBLEM, "method_not_allowed")
    assert answer["Allow"]


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png;q=0.1", "nonsense"])
def test_whatever_a_client_accepts_it_gets_json(caller, accept):
    answer = caller.get("/jobs", Accept=accept)

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_without_postgresql_nothing_is_accepted_and_the_client_asks_again(caller, monkeypatch, error):
    def away(jobs, **common):
        raise error

    monkeypatch.setattr(intake.acceptance, "accept", away)

    answer = caller.post("/addJob", {"email": "ann@example.org", "name": "Ann"})

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer["Retry-After"]) > 0
    assert not Job.objects.exists()


@pytest.mark.parametrize("debug", [True, False])
def test_a_failure_of_ours_tells_the_client_nothing_and_the_log_everything(
    caller, monkeypatch, settings, caplog, debug
):
    def fail(**columns):
        raise RuntimeError("secret detail")

    settings.DEBUG = debug
    monkeypatch.setattr(intake.acceptance, "accept", fail)
    caller.client.raise_request_exception = False
    caplog.set_level(logging.ERROR)

    answer = caller.post("/addJob", {"email": "ann@example.org", "name": "Ann"})

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (500, PROBLEM, "internal")
    assert b"secret" not in answer.content
    assert answer.json()["correlation_id"] == answer["X-Correlation-ID"]
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert "request_failed" in str(record.msg)


def test_a_host_that_is_not_ours_is_refused_in_the_same_shape(caller):
    answer = caller.get("/jobs", Host="evil.example")

    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)


@pytest.mark.parametrize("path", ["/addJob/", "/addjob", "/nope", "/jobs/x/y/z"])
def test_a_post_to_a_misspelt_address_is_lost_and_not_forbidden(caller, path):
    client = Client(enforce_csrf_checks=True)

    answer = client.post(path, b"{}", "application/json")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert "/docs" in answer.json()["detail"]


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nonsense"])
def test_a_caller_without_a_good_token_is_told_where_to_get_one(header):
    answer = Client().get("/jobs", headers={"Authorization": header} if header else {})

    assert answer.status_code == 401
    assert "Bearer <access_token>" in answer.json()["detail"] or "/login" in answer.json()["detail"]
