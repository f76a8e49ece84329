"""The span of a request: whose child it is, how it is named, and what it does not tell."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings

MIDDLEWARE = ["scheduler.tracing.RequestSpans", "scheduler.request_metrics.RequestMetrics"]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def ask(spans_made):
    """Ask, and get the span of it with the answer."""

    def ask(path, *, method="GET", **headers):
        with override_settings(MIDDLEWARE=MIDDLEWARE):
            answer = Client(raise_request_exception=False).generic(method, path, headers=headers)
        (made,) = spans_made.get_finished_spans()
        return made, answer

    return ask


def test_it_is_named_by_its_route_and_not_by_its_address(ask, db):
    made, answer = ask(
        "/jobs/01a22083-1171-70a2-98c2-88fd9ad6f1c4?recipient=ann@example.org", authorization="Bearer secret"
    )

    assert (answer.status_code, made.name) == (401, "GET /jobs/<uuid:id>")
    assert made.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 401,
        "http.route": "/jobs/<uuid:id>",
        "url.path": "/jobs/01a22083-1171-70a2-98c2-88fd9ad6f1c4",
        "url.scheme": "http",
    }
    assert made.status.is_unset  # a client's fault is none of ours
    assert made.parent is None


@pytest.mark.parametrize("path", ["/suppressions/ann@example.org", "/unsubscribe/a-token-that-acts"])
def test_addresses_and_tokens_in_its_path_are_not_told(ask, db, path):
    made, _ = ask(path)

    assert made.attributes["url.path"] == f"/{path.split('/')[1]}/…"
    assert "ann@example.org" not in str(made.attributes)


def test_it_is_a_child_of_the_callers(ask):
    made, _ = ask("/schema", traceparent=GOOD, tracestate="vendor=1")

    assert (f"{made.context.trace_id:032x}", f"{made.parent.span_id:016x}") == (TRACE, CALLER)
    assert made.context.trace_state == {"vendor": "1"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        GOOD.replace("00-", "ff-", 1),
        GOOD[:-3],
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{CALLER}-0g",
        GOOD * 1000,
    ],
)
def test_a_header_that_is_no_traceparent_is_as_if_there_were_none(ask, header):
    made, answer = ask("/schema", traceparent=header)

    assert answer.status_code == 200
    assert made.parent is None


def test_a_made_up_method_and_address_name_nothing(ask):
    made, answer = ask("/no/such/call", method="BREW")

    assert (answer.status_code, made.name, made.attributes["http.request.method"]) == (404, "HTTP", "_OTHER")
    assert "http.route" not in made.attributes


def test_an_error_of_ours_is_told_by_its_status_and_not_by_its_words(ask, monkeypatch):
    def fail(*_):
        raise RuntimeError("ann@example.org")

    monkeypatch.setattr("jobs.api.auth.LoginView.post", fail)

    made, answer = ask("/login", method="POST")

    assert (answer.status_code, made.status.description, made.attributes["error.type"]) == (500, "500", "500")
    assert not made.status.is_ok
    assert made.events == ()


@pytest.mark.parametrize("path", ["/health/live", "/metrics"])
def test_probes_make_no_spans(spans_made, path):
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        assert Client().get(path).status_code == 200

    assert spans_made.get_finished_spans() == ()
