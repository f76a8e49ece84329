import logging

import pytest
import structlog
from django.http import HttpResponse
from django.test import Client, RequestFactory

from scheduler.middleware import CorrelationMiddleware


@pytest.fixture
def lines(monkeypatch):
    """What the middleware logs, with what was bound at that moment."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        monkeypatch.setattr("scheduler.middleware.log", structlog.get_logger())
        yield captured


def ask(view=lambda request: HttpResponse("fine"), path="/jobs?email=ann@example.org", **headers):
    return CorrelationMiddleware(view)(RequestFactory().get(path, headers=headers))


@pytest.mark.parametrize("given", ["order-42", "a", "x" * 128, "with space and ~!"])
def test_the_client_names_its_request(lines, given):
    assert ask(**{"X-Correlation-ID": given})["X-Correlation-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "tab\there", "line\nbreak", "nul\0", "\xfcmlaut", "del\x7f"])
def test_a_name_that_could_not_stand_in_a_header_is_replaced(lines, given):
    answer = ask(**{"X-Correlation-ID": given})["X-Correlation-ID"]

    assert answer != given
    assert len(answer) == 36


def test_requests_without_a_name_get_different_ones(lines):
    assert ask()["X-Correlation-ID"] != ask()["X-Correlation-ID"]


def test_every_line_of_a_request_carries_its_name_and_no_later_one_does(lines):
    def view(request):
        structlog.contextvars.bind_contextvars(job_id="j")
        structlog.get_logger().info("inside")
        return HttpResponse("fine")

    structlog.contextvars.bind_contextvars(left_by="an earlier request")
    ask(view, **{"X-Correlation-ID": "mine"})

    assert [line["event"] for line in lines] == ["inside", "request_finished"]
    assert {line["correlation_id"] for line in lines} == {"mine"}
    assert not any("left_by" in line for line in lines)
    assert structlog.contextvars.get_contextvars() == {}


def test_a_request_is_logged_once_without_its_query(lines):
    ask(**{"Authorization": "Bearer secret"})

    (line,) = lines
    assert (line["method"], line["path"], line["status"]) == ("GET", "/jobs", 200)
    assert line["ms"] >= 0
    assert "ann@example.org" not in str(line)
    assert "secret" not in str(line)


def test_what_was_bound_is_cleared_when_the_request_fails(lines):
    def view(request):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ask(view)

    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/jobs", "/nowhere", "/health/live", "/admin/login/", "/docs"])
def test_every_answer_is_named_and_logged_once(caplog, path):
    caplog.set_level(logging.INFO)

    answer = Client().get(path, headers={"X-Correlation-ID": "mine"})

    assert answer["X-Correlation-ID"] == "mine"
    assert len(caplog.records) == 1
    assert "request_finished" in str(caplog.records[0].msg)
