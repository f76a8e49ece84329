"""One trace from a client's request, through PostgreSQL, to the conversation with the recipient's server."""

from __future__ import annotations

import re
import signal
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Job, Schedule
from jobs.schedules import create, read
from jobs.states import Status
from scheduler.embedded.child import Child, free_port
from tests.collector import SeenSpan, collector

pytestmark = pytest.mark.slow

PASSWORD = "a long password"
BODY = {"type": "email", "payload": {"to": "bob.private@example.com", "subject": "Zebra subject", "text": "Quagga"}}
SECRETS = (b"bob.private", b"Zebra subject", b"Quagga", PASSWORD.encode(), b"Bearer")
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STEPS = ["prepare", "connect", "offer", "mark", "commit"]
FLUSH_SECONDS = 3.0  # as jobs/spans.py has it, whose import would bring the library into this process
OTHER_WORK_SECONDS = 6.0  # of a drain, on a machine that others use, too; the library alone would wait for 10 or 30


@pytest.fixture
def traces(platform):
    """A collector, to which the platform's processes report soon."""
    with collector() as side:
        platform.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": side.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        yield side


@pytest.fixture
def api_and_client(platform, owner, traces):
    """Of an API that is traced, logged in."""
    return logged_in(platform, owner)


@pytest.fixture
def client(api_and_client):
    return api_and_client[1]


def logged_in(platform, owner):
    owner.set_password(PASSWORD)
    owner.save()
    api, client = platform.start_api()
    tokens = client.post("/login", json={"username": "ann", "password": PASSWORD}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return api, client


def parents(spans: list[SeenSpan]) -> dict[str, str]:
    """Of each span, by names."""
    names = {span.id: span.name for span in spans}
    return {span.name: names.get(span.parent_id, span.parent_id) for span in spans}


def test_a_mail_is_one_trace_from_the_request_to_the_conversation(platform, api_and_client, traces):
    api, client = api_and_client
    worker = platform.start_worker()

    answer = client.post("/addJob", json=BODY, headers={"X-Correlation-ID": "order-42"})
    client.get("/jobs", params={"recipient": "bob.private@example.com"})
    job = platform.until(lambda: Job.objects.filter(status=Status.COMPLETED).first())
    (serving,) = platform.until(lambda: traces.named("POST /addJob"))
    (process,) = platform.until(lambda: traces.named("process email"))
    platform.until(lambda: traces.named("GET /jobs"))
    settled = platform.until(lambda: platform.said(worker, "job_settled"))

    trace = [span for span in traces.spans if span.trace_id == serving.trace_id]
    assert parents(trace) == {
        "POST /addJob": "",
        "send email": "POST /addJob",
        "process email": "send email",
        **dict.fromkeys(STEPS, "process email"),
    }
    assert len(trace) == 3 + len(STEPS)
    assert {span.name: span.service for span in trace} == {
        **dict.fromkeys(["POST /addJob", "send email"], "sendonce-api"),
        **dict.fromkeys(["process email", *STEPS], "sendonce-worker"),
    }
    (send,) = traces.named("send email")
    assert [span.kind for span in (serving, send, process)] == ["server", "producer", "consumer"]
    assert serving.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 202,
        "http.route": "/addJob",
        "url.path": "/addJob",
        "url.scheme": "http",
    }
    of_both = {
        "messaging.system": "sendonce",
        "messaging.destination.name": "email",
        "messaging.message.id": str(job.id),
        "messaging.message.conversation_id": "order-42",
    }
    assert send.attributes == of_both | dict.fromkeys(("messaging.operation.name", "messaging.operation.type"), "send")
    assert process.attributes == of_both | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": platform.said(worker, "worker_started")[0]["worker_id"],
        "sendonce.job.type": "email",
        "sendonce.attempt": 1,
        "sendonce.provider": "main",
        "sendonce.outcome": "sent",
        "sendonce.reply.code": 250,
    }
    assert {span.status for span in trace} == {"unset"}
    assert job.traceparent.startswith(f"00-{send.trace_id}-{send.id}-")
    assert answer.status_code == 202
    lines = [line for line in platform.lines(api) if line.get("correlation_id") == "order-42"] + settled
    assert [(line["event"], line["trace_id"]) for line in lines] == [
        (event, serving.trace_id) for event in ("job_accepted", "request_finished", "job_settled")
    ]
    assert [secret for secret in SECRETS for heard in traces.side.heard if secret in heard.body] == []
    platform.assert_books_balance()


def test_every_attempt_stands_in_the_trace_of_the_request(platform, smtp, client, traces):
    smtp.once("dot", "451 4.3.0 bob.private, later")
    platform.start_worker()
    platform.start_scheduler()

    client.post("/addJob", json=BODY)
    platform.until_status("completed")
    platform.until(lambda: len(traces.named("process email")) == 2)

    (send,) = traces.named("send email")
    first, second = sorted(traces.named("process email"), key=lambda span: span.attributes["sendonce.attempt"])
    assert {(trip.trace_id, trip.parent_id) for trip in (first, second)} == {(send.trace_id, send.id)}
    told = ("status", "sendonce.attempt", "sendonce.outcome", "sendonce.reply.code", "error.type")
    assert [
        tuple((span.attributes | {"status": span.status}).get(name) for name in told) for span in (first, second)
    ] == [
        ("error", 1, "transient", 451, "smtp_4xx"),
        ("unset", 2, "sent", 250, None),
    ]
    assert {span.name: span.status for span in traces.children(first)} == dict.fromkeys(STEPS, "unset") | {
        "commit": "error"
    }
    assert {span.name: span.status for span in traces.children(second)} == dict.fromkeys(STEPS, "unset")
    assert [secret for secret in SECRETS for heard in traces.side.heard if secret in heard.body] == []


def test_a_callers_trace_is_gone_on_with_unless_it_is_none(platform, client, traces):
    platform.start_worker()
    headers = [f"00-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01", "bob.private@example.com"]

    for header in headers:
        assert client.post("/addJob", json=BODY, headers={"traceparent": header}).status_code == 202
    platform.until_status("completed")
    asked = platform.until(lambda: len(found := traces.named("POST /addJob")) == 3 and found)
    trips = platform.until(lambda: len(found := traces.named("process email")) == 3 and found)

    assert sorted((span.parent_id, span.trace_id == TRACE) for span in asked) == [("", False)] * 2 + [(CALLER, True)]
    assert {span.trace_id for span in trips} == {span.trace_id for span in asked}
    assert len({span.trace_id for span in trips}) == 3


def test_what_a_caller_does_not_sample_is_not_recorded_but_named_in_the_log(platform, client, traces):
    worker = platform.start_worker()

    client.post("/addJob", json=BODY, headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    platform.until_status("completed")
    (settled,) = platform.until(lambda: platform.said(worker, "job_settled"))
    client.post("/addJob", json=BODY)
    platform.until(lambda: traces.named("process email"))

    assert settled["trace_id"] == TRACE
    assert not [span for span in traces.spans if span.trace_id == TRACE]


def test_a_batch_is_one_trace(platform, client, traces):
    platform.start_worker()

    client.post("/jobs/batch", json={"jobs": [BODY, BODY, {"email": "ann@example.com", "name": "Ann"}]})
    platform.until_status("completed")
    platform.until(lambda: len(traces.named("process email")) == 2 and traces.named("process welcome_email"))

    (send,) = platform.until(lambda: traces.named("send"))
    trips = [*traces.named("process email"), *traces.named("process welcome_email")]
    assert send.attributes["messaging.batch.message_count"] == 3
    assert {trip.parent_id for trip in trips} == {send.id}


def test_the_jobs_of_a_schedule_have_a_trace_of_their_own(platform, traces):
    planned = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    create(read({"name": "figures", "cron": "* * * * *", **BODY}), owner_id=platform.owner.id)
    Schedule.objects.update(next_at=planned)
    platform.start_worker()

    platform.start_scheduler()
    platform.until(lambda: Job.objects.exists())
    (trip, *_) = platform.until(lambda: traces.named("process email"))

    sends = platform.until(lambda: traces.named("send email"))
    assert {(send.service, send.parent_id) for send in sends} == {("sendonce-clock", "")}
    assert trip.parent_id in {send.id for send in sends}


def test_processes_send_what_they_have_before_they_end(platform, api_and_client, traces):
    platform.env["OTEL_BSP_SCHEDULE_DELAY"] = "600000"  # not before they must
    platform.env["OTEL_SERVICE_NAME"] = "mail"
    worker = platform.start_worker("--processes", "2")
    api, client = logged_in(platform, platform.owner)

    client.post("/addJob", json=BODY)
    platform.until_status("completed")
    platform.worker_pids()
    for child in (api, worker):
        child.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: api.returncode is not None and worker.returncode is not None)

    assert (api.returncode, worker.returncode) == (0, 0)
    (serving,) = traces.named("POST /addJob")
    (trip,) = traces.named("process email")
    assert trip.trace_id == serving.trace_id
    assert (serving.service, trip.service) == ("mail", "mail")


@pytest.mark.parametrize("how", ["away", "silent"])
def test_a_collector_that_does_not_answer_holds_up_neither_mails_nor_the_end(platform, owner, traces, how):
    traces.side.holds = True  # it takes requests, and never answers
    if how == "away":
        platform.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    worker = platform.start_worker()
    api, client = logged_in(platform, owner)

    answers = [client.post("/addJob", json=BODY).status_code for _ in range(20)]
    platform.until_status("completed")
    if how == "silent":
        platform.until(lambda: traces.side.heard)
    asked_at = time.monotonic()
    for child in (api, worker):
        child.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: api.returncode is not None and worker.returncode is not None)

    assert answers == [202] * 20
    assert (api.returncode, worker.returncode) == (0, 0)
    assert platform.said(worker, "spans_dropped")
    assert time.monotonic() - asked_at < FLUSH_SECONDS + OTHER_WORK_SECONDS
    platform.assert_books_balance()


def imported(platform, *children: Child) -> list[set[str]]:
    """The modules that each process has said it imports."""
    return [
        set(re.findall(r"^import time: .*\| +([\w.]+)$", child.log.read_text(), re.MULTILINE)) for child in children
    ]


OURS = {"jobs.spans", "opentelemetry.exporter.otlp.proto.http.trace_exporter", "google.protobuf.message"}


@pytest.mark.parametrize("where", ["on", "off", "not installed"])
def test_without_a_collector_nothing_of_tracing_is_imported_or_needed(platform, smtp, owner, tmp_path, where):
    """Of our own: redis-py, where OpenTelemetry is installed, imports what its metrics would need, and makes none."""
    platform.env["PYTHONPROFILEIMPORTTIME"] = "1"  # each process says what it imports
    if where == "on":
        platform.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    if where == "not installed":
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
        platform.env["PYTHONPATH"] = str(tmp_path)
    worker, clock = platform.start_worker(), platform.start_scheduler()
    api, client = logged_in(platform, owner)

    client.post("/addJob", json=BODY)
    platform.until(lambda: smtp.accepted)
    platform.until_status("completed")
    platform.until(lambda: platform.said(clock, "scheduler_started"))

    modules = imported(platform, api, worker, clock)
    assert all("jobs.tracing" in names for names in modules)
    assert [names & OURS for names in modules] == [OURS if where == "on" else set()] * 3
    assert (Job.objects.get().traceparent is not None) == (where == "on")
