from __future__ import annotations

from uuid import uuid4

import pytest

from jobs import batches, queue
from jobs.models import Batch, Job
from tests.jobs.conftest import EMAIL, Caller, being_accepted


def email(**options):
    return {"type": "email", "payload": EMAIL, **options}


def test_each_job_of_a_batch_becomes_a_row_in_the_order_given(caller):
    answer = caller.post("/jobs/batch", {"jobs": [email(), {"email": "ann@example.org", "name": "Ann"}, email()]})

    body = answer.json()
    rows = list(Job.objects.order_by("id"))
    assert answer.status_code == 207
    assert (body["accepted"], body["rejected"]) == (3, 0)
    assert body["results"] == [{"index": n, "id": str(row.id), "status": "queued"} for n, row in enumerate(rows)]
    assert [row.type for row in rows] == ["email", "welcome_email", "email"]
    assert {str(row.batch_id) for row in rows} == {body["id"]}


def test_all_of_them_wait_in_the_lists_of_their_priorities_first_in_first_out(caller):
    answer = caller.post("/jobs/batch", {"jobs": [email(priority="low"), email(), email(priority="low")]})

    ids = [result["id"] for result in answer.json()["results"]]
    low = [str(id) for id in queue.head("low", limit=10_000)]
    assert [id for id in reversed(low) if id in ids] == [ids[0], ids[2]]
    assert ids[1] in [str(id) for id in queue.head("default", limit=10_000)]


def test_what_cannot_be_accepted_is_refused_alone_and_by_its_field(caller):
    wrong = {"type": "email", "payload": EMAIL | {"to": "nobody"}}

    answer = caller.post("/jobs/batch", {"jobs": [email(), wrong, "what", email(delay_seconds=60)]})

    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (2, 2)
    assert [result.get("status") for result in body["results"]] == ["queued", None, None, "scheduled"]
    assert body["results"][1]["error"]["code"] == "invalid"
    assert list(body["results"][1]["error"]["errors"]) == ["payload.to"]
    assert list(body["results"][2]["error"]["errors"]) == ["body"]
    assert Job.objects.count() == 2


def test_the_same_call_again_makes_no_job(caller):
    body = {"jobs": [email(idempotency_key="a"), email(idempotency_key="b")]}

    first = caller.post("/jobs/batch", body).json()
    again = caller.post("/jobs/batch", body).json()

    assert [result["id"] for result in again["results"]] == [result["id"] for result in first["results"]]
    assert [result["replayed"] for result in again["results"]] == [True, True]
    assert (again["accepted"], again["id"] != first["id"]) == (2, True)
    assert Job.objects.count() == 2


def test_one_key_twice_in_a_batch_is_one_job_and_another_body_is_refused(caller):
    other = {"type": "email", "payload": EMAIL | {"subject": "Another"}, "idempotency_key": "a"}

    results = caller.post("/jobs/batch", {"jobs": [email(idempotency_key="a")] * 2 + [other]}).json()["results"]

    assert results[0]["id"] == results[1]["id"]
    assert [result.get("replayed", False) for result in results] == [False, True, False]
    assert results[2]["error"]["code"] == "idempotency_key_reused"
    assert Job.objects.count() == 1


def test_keys_of_a_batch_and_of_single_jobs_are_the_same_keys(caller):
    single = caller.post("/jobs", email(idempotency_key="a")).json()

    batch = caller.post("/jobs/batch", {"jobs": [email(idempotency_key="b"), email(idempotency_key="a")]}).json()
    replay = caller.post("/jobs", email(idempotency_key="b"))

    assert batch["results"][1] == {"index": 1, "id": single["id"], "status": "queued", "replayed": True}
    assert replay["Idempotency-Replayed"] == "true"
    assert replay.json()["id"] == batch["results"][0]["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "jobs"),
        ([], "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": {"type": "email"}}, "jobs"),
        ({"jobs": [{}], "type": "email"}, "type"),
        ({"jobs": [{}] * (batches.MOST + 1)}, "jobs"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(caller, body, field):
    answer = caller.post("/jobs/batch", body)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Batch.objects.exists()


def test_one_header_cannot_be_the_key_of_many(caller):
    answer = caller.post("/jobs/batch", {"jobs": [email()]}, Idempotency_Key="a")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Idempotency-Key"])
    assert not Job.objects.exists()


def test_a_batch_may_be_larger_than_one_job_and_not_larger_than_one_with_attachments(caller, tunables):
    tunables(max_body_bytes=1_000, max_attachment_body_bytes=10_000)

    assert caller.post("/jobs/batch", {"jobs": [email()] * 20}).status_code == 207
    assert caller.post("/jobs/batch", {"jobs": [email()] * 200}).status_code == 413


def test_a_batch_tells_how_its_jobs_stand(caller):
    batch = caller.post("/jobs/batch", {"jobs": [email(), email(delay_seconds=60), "what"]}).json()

    told = caller.get(f"/batches/{batch['id']}").json()
    caller.post(f"/jobs/{batch['results'][0]['id']}/cancel", b"")
    caller.post(f"/jobs/{batch['results'][1]['id']}/cancel", b"")
    later = caller.get(f"/batches/{batch['id']}").json()

    assert (told["accepted"], told["rejected"]) == (2, 1)
    assert (told["jobs"], told["is_final"]) == ({"queued": 1, "scheduled": 1}, False)
    assert (later["jobs"], later["is_final"]) == ({"cancelled": 2}, True)


def test_a_batch_is_its_owners_alone(caller, make_user):
    batch = caller.post("/jobs/batch", {"jobs": [email()]}).json()

    assert Caller(make_user()).get(f"/batches/{batch['id']}").status_code == 404
    assert caller.get(f"/batches/{uuid4()}").status_code == 404


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_still_being_accepted_holds_up_no_other_job_of_the_batch(caller):
    with being_accepted(email(), owner_id=caller.user.id, key="slow"):
        answer = caller.post("/jobs/batch", {"jobs": [email(), email(idempotency_key="slow"), email()]}).json()

    assert [result.get("status") for result in answer["results"]] == ["queued", None, "queued"]
    assert answer["results"][1]["error"]["code"] == "idempotency_key_in_flight"


# ── Who is told ───────────────────────────────────────────────────────────────────────────────


def a_webhook(caller):
    caller.put("/destinations/crm", {"kind": "webhook", "url": "https://hooks.example.org/"})


def test_a_batch_may_name_a_webhook_that_is_told_of_its_end(caller):
    a_webhook(caller)

    answer = caller.post("/jobs/batch", {"jobs": [email()], "webhook": "crm"})

    shown = caller.get(f"/batches/{answer.json()['id']}").json()
    assert (answer.status_code, shown["is_final"]) == (207, False)
    assert shown["webhook"] == {"destination": "crm", "told_at": None, "job_id": None, "error": None}


@pytest.mark.parametrize("webhook", ["nowhere", "on-call", 7, "", ["crm"]])
def test_a_webhook_that_is_none_is_refused_and_nothing_accepted(caller, webhook):
    a_webhook(caller)
    caller.put("/destinations/on-call", {"kind": "notification", "url": "json://hooks.example.org/"})

    answer = caller.post("/jobs/batch", {"jobs": [email()], "webhook": webhook})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["webhook"])
    assert not Job.objects.exists()


def test_without_one_nobody_is_told(caller):
    answer = caller.post("/jobs/batch", {"jobs": [email()], "webhook": None})

    assert caller.get(f"/batches/{answer.json()['id']}").json()["webhook"] is None
