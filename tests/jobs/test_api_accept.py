from io import BytesIO

import pytest

from jobs import queue
from jobs.models import Job
from tests.jobs.conftest import EMAIL, Caller

WELCOME = {"email": "ann@example.org", "name": "Ann"}


def test_the_line_that_everybody_types_is_accepted(caller):
    answer = caller.post("/addJob", b'{"email":"ann@example.org","name":"Ann"}')

    job = Job.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {
        "id": str(job.id),
        "status": "queued",
        "message": "Job added to queue",
        "location": f"/jobs/{job.id}",
    }
    assert answer["Location"] == f"/jobs/{job.id}"
    assert (job.type, job.payload, job.owner_id) == ("welcome_email", WELCOME, caller.user.id)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/addJob", {"type": "email", "payload": EMAIL}, 202),
        ("/jobs", {"type": "email", "payload": EMAIL}, 202),
        ("/jobs", {"payload": {"type": "email"} | EMAIL}, 202),
        ("/submit_job", {"name": "email", "payload": EMAIL}, 201),
    ],
)
def test_every_way_to_say_an_email_makes_the_same_job(caller, path, body, status):
    answer = caller.post(path, body)

    assert answer.status_code == status
    assert set(answer.json()) == {"id", "status", "message", "location"}
    job = Job.objects.get(id=answer.json()["id"])
    assert (job.type, job.payload, job.recipients) == ("email", EMAIL, ["ann@example.org"])


def test_an_accepted_job_waits_in_the_list_of_its_priority(caller):
    answer = caller.add(priority="low")

    assert answer.json()["id"] in [str(id) for id in queue.head("low", limit=10_000)]


def test_a_job_for_later_is_scheduled_and_rings_no_bell(caller):
    answer = caller.add(delay_seconds=60, priority="high")

    assert answer.json()["status"] == "scheduled"
    assert answer.json()["id"] not in [str(id) for id in queue.head("high", limit=10_000)]


def test_the_correlation_id_of_the_request_is_stored_on_the_job(caller):
    answer = caller.post("/addJob", WELCOME, X_Correlation_ID="order 42")

    assert Job.objects.get(id=answer.json()["id"]).correlation_id == "order 42"
    assert answer["X-Correlation-ID"] == "order 42"


def test_two_workers_of_a_client_get_two_jobs_without_a_key(caller):
    assert caller.add().json()["id"] != caller.add().json()["id"]


# ── Idempotency ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/addJob", "/jobs", "/submit_job"])
def test_a_repeated_request_gets_its_first_answer_again_and_makes_no_job(caller, path):
    first = caller.post(path, {"name": "email", "payload": EMAIL}, Idempotency_Key="k1")
    again = caller.post(path, {"name": "email", "payload": EMAIL}, Idempotency_Key="k1")

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    assert Job.objects.count() == 1


def test_a_replay_tells_the_first_status_however_far_the_job_has_come(caller):
    first = caller.add(idempotency_key="k1")
    Job.objects.update(status="cancelled", finished_at="2030-01-01T00:00:00Z")

    assert caller.add(idempotency_key="k1").content == first.content


def test_a_replay_is_recognised_without_redis(caller, monkeypatch):
    monkeypatch.setattr(queue, "recall_keys", lambda keys: {})
    first = caller.add(idempotency_key="k1")

    again = caller.add(idempotency_key="k1")

    assert (again.content, again["Idempotency-Replayed"]) == (first.content, "true")


def test_a_key_with_another_body_is_refused_and_makes_no_job(caller):
    caller.add(idempotency_key="k1")

    answer = caller.add(idempotency_key="k1", priority="high")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_keys_belong_to_their_caller(caller, stranger):
    mine = caller.add(idempotency_key="k1")
    theirs = stranger.add(idempotency_key="k1")

    assert mine.json()["id"] != theirs.json()["id"]
    assert "Idempotency-Replayed" not in theirs


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k1", "k1"),
        ('"k1"', "k1"),
        (' "k1" ', "k1"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
)
def test_a_key_may_be_quoted_or_bare(caller, header, key):
    caller.post("/addJob", WELCOME, Idempotency_Key=header)

    assert Job.objects.get().idempotency_key == key


@pytest.mark.parametrize("header", ["", '""', '"open', "k" * 256, "k\xe4", '"a";p=1', r'"\x"', '"a\tb"'])
def test_a_key_that_cannot_be_one_is_refused_by_name(caller, header):
    answer = caller.post("/addJob", WELCOME, Idempotency_Key=header)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["errors"]


def test_a_header_and_a_body_that_name_different_keys_are_refused(caller):
    answer = caller.post("/addJob", WELCOME | {"idempotency_key": "a"}, Idempotency_Key="b")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["idempotency_key"])


# ── Bodies that are none ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"email=ann@example.org&name=Ann", "byte 0"),
        (b'{"email": "ann@example.org", }', "byte 29"),
        (b'{"email": NaN}', "byte 10"),
        (b'{"email": "\xff"}', "UTF-8 at byte 11"),
        (b'{"delay_seconds": 1e999}', "out of range"),
        (b"[" * 100_000, "deeply"),
        (b'{"a": ' * 50_000, "deeply"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b"null", "JSON object"),
        (b'{"email": "ann@example.org", "name": "\\ud800"}', ""),
    ],
)
@pytest.mark.parametrize("path", ["/addJob", "/jobs", "/submit_job"])
def test_a_body_that_is_no_json_object_is_refused_with_its_place(caller, path, body, says):
    answer = caller.post(path, body)

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert says in answer.json()["errors"]["body"][0]


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ann@example.org", "name": "A\0nn"},
        {"email": "a\0nn@example.org", "name": "Ann"},
        {"type": "em\0ail", "payload": EMAIL},
        {"type": "email", "payload": EMAIL | {"text": "a\0b"}},
        {"type": "email", "payload": EMAIL | {"headers": {"X-A": "\0"}}},
        {"type": "email", "payload": EMAIL | {"headers": {"X-\0": "a"}}},
        {"type": "email", "payload": EMAIL, "idempotency_key": "a\0b"},
        {"type": "email", "payload": EMAIL, "dedupe_key": "\0"},
        {"type": "email", "payload": EMAIL, "provider": "\0"},
        {"type": "email", "payload": EMAIL, "\0": 1},
        {"type": "email", "payload": EMAIL, "max_attempts": 10**30},
        {"type": "email", "payload": EMAIL, "delay_seconds": 10**300},
        {"type": "email", "payload": EMAIL, "run_at": "9999-12-31T23:59:59-12:00"},
        {"type": "email", "payload": EMAIL, "run_at": 0},
        {"type": ["email"], "payload": EMAIL},
        {"type": "email", "payload": []},
        {"payload": {"type": {}}},
    ],
)
def test_what_postgresql_could_not_store_is_refused_and_does_no_harm(caller, body):
    answer = caller.post("/addJob", body)

    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_a_byte_order_mark_is_no_obstacle(caller):
    assert caller.post("/addJob", b"\xef\xbb\xbf" + b'{"email":"ann@example.org","name":"Ann"}').status_code == 202


def test_every_field_that_is_wrong_is_named(caller):
    answer = caller.post("/addJob", {"type": "email", "payload": {"to": "nobody", "subject": "", "colour": 1}})

    assert set(answer.json()["errors"]) >= {"payload.colour"}
    assert answer.json()["code"] == "invalid"


# ── Sizes ─────────────────────────────────────────────────────────────────────────────────────


def test_a_large_body_is_refused_unless_it_carries_attachments(caller):
    attachment = {"filename": "a.bin", "content_base64": "QUJD" * 150_000}

    plain = caller.add(payload=EMAIL | {"text": "x" * 600_000})
    carrying = caller.add(payload=EMAIL | {"attachments": [attachment]})

    assert (plain.status_code, plain.json()["code"]) == (413, "too_large")
    assert carrying.status_code == 202


def test_a_body_above_the_largest_limit_is_refused_before_it_is_read(caller):
    answer = caller.client.generic(
        "POST", "/addJob", b"{}", headers=caller.headers | {"Content-Length": str(11 * 1024 * 1024)}
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


class Endless:
    """A chunked body that never ends, and counts what was taken of it."""

    taken = 0
    readline = None

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "an endless body must be read with a bound"
        self.taken += size
        return b"1" * size


def chunked(caller: Caller, path: str, stream: object) -> object:
    extra = {"wsgi.input": stream, "wsgi.input_terminated": True, "HTTP_AUTHORIZATION": caller.headers["Authorization"]}
    return caller.client.request(PATH_INFO=path, REQUEST_METHOD="POST", **extra)


def test_a_chunked_body_is_read(caller):
    answer = chunked(caller, "/addJob", BytesIO(b'{"email":"ann@example.org","name":"Ann"}'))

    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["/addJob", "/login"])
def test_an_endless_body_is_refused_after_a_bounded_read(caller, path):
    stream = Endless()

    answer = chunked(caller, path, stream)

    assert answer.status_code == 413
    assert stream.taken <= 10 * 1024 * 1024 + 1


def test_a_compressed_body_is_refused_with_the_remedy(caller):
    answer = caller.post("/addJob", b"\x1f\x8b", Content_Encoding="gzip")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["body"])


def test_a_job_that_could_never_be_sent_is_refused(caller):
    answer = caller.add(run_at="2040-01-02T00:00:00Z", expires_at="2040-01-01T00:00:00Z")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["expires_at"])
