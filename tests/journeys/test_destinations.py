"""Webhooks and notifications, from the API to their receivers."""

from __future__ import annotations

from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from jobs.models import Destination
from tests.journeys.platform import Platform
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.slow


@pytest.fixture
def side():
    with receiver() as side:
        yield side


@pytest.fixture
def client(platform: Platform):
    platform.env |= {"SIGNUP_OPEN": "true", "REACHABLE_NETWORKS": "127.0.0.0/8"}
    _, client = platform.start_api()
    answer = client.post("/signup", json={"username": "shop", "password": "correct horse battery"})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def put(client, name: str, kind: str, url: str) -> str | None:
    answer = client.put(f"/destinations/{name}", json={"kind": kind, "url": url})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["secret"]


def post(client, type: str, **payload) -> UUID:
    answer = client.post("/jobs", json={"type": type, "payload": payload})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def test_a_webhook_goes_all_the_way_and_its_answer_is_kept(platform: Platform, client, side: Receiver):
    platform.start_worker()
    secret = put(client, "crm", "webhook", f"{side.url}/in")

    job_id = post(client, "webhook", destination="crm", event="order.paid", data={"order": 1})

    platform.until(lambda: platform.job(job_id).status == "completed")
    assert platform.job(job_id).result == {"provider": "crm", "reply": {"code": 200, "detail": "ok"}}
    (heard,) = side.heard
    assert Webhook(secret).verify(heard.body, heard.headers)["data"] == {"order": 1}


def test_a_receiver_that_is_gone_is_not_asked_again(platform: Platform, client, side: Receiver):
    platform.start_worker()
    put(client, "crm", "webhook", side.url)
    side.answers = [(410, {}, b"moved away")]

    job_id = post(client, "webhook", destination="crm", event="order.paid", data={})

    platform.until(lambda: platform.job(job_id).status == "failed")
    shown = client.get("/destinations/crm").json()
    assert (shown["disabled_at"] is None, "moved away" in shown["disabled_because"]) == (False, True)
    refused = client.post(
        "/jobs", json={"type": "webhook", "payload": {"destination": "crm", "event": "order.paid", "data": {}}}
    )
    assert "Disabled since" in refused.json()["errors"]["payload.destination"][0]
    put(client, "crm", "webhook", side.url)
    side.answers = [(200, {}, b"")]
    (letter,) = client.get("/failedJobs").json()["results"]
    assert letter["error"] == {"kind": "gone", "code": 410, "detail": "HTTP 410: moved away"}
    assert client.post(f"/failedJobs/{letter['id']}/requeue").status_code == 200
    platform.until(lambda: platform.job(job_id).status == "completed")
    assert len({heard.headers["webhook-id"] for heard in side.heard}) == 1


def test_a_receiver_that_is_busy_is_asked_when_it_said(platform: Platform, client, side: Receiver):
    platform.start_worker()
    platform.start_scheduler()
    put(client, "crm", "webhook", side.url)
    side.answers = [(503, {"retry-after": "3600"}, b"")]

    job_id = post(client, "webhook", destination="crm", event="order.paid", data={})

    platform.until(lambda: platform.job(job_id).status == "scheduled")
    job = platform.job(job_id)
    assert 3500 < (job.run_at - job.updated_at).total_seconds() < 3700
    assert (job.attempts, len(side.heard)) == (1, 1)


def test_a_notification_is_told_once_and_its_destination_is_sealed(platform: Platform, client, side: Receiver):
    worker = platform.start_worker()
    put(client, "on-call", "notification", side.url.replace("http://", "json://") + "/t0ps3cret")

    job_id = post(client, "notification", destination="on-call", body="The till is silent.", level="failure")

    platform.until(lambda: platform.job(job_id).status == "completed")
    assert (len(side.heard), platform.outcomes(job_id)) == (1, ["sent"])
    assert b"t0ps3cret" not in bytes(Destination.objects.get().sealed)
    assert not any("t0ps3cret" in str(line) for line in platform.lines(worker))


def test_a_notification_that_nobody_answered_waits_for_a_person(platform: Platform, client, side: Receiver):
    platform.start_worker()
    side.answers = [None]
    put(client, "on-call", "notification", side.url.replace("http://", "json://"))

    job_id = post(client, "notification", destination="on-call", body="The till is silent.")

    platform.until(lambda: platform.job(job_id).status == "unknown")
    assert len(side.heard) == 1


def test_what_was_deleted_meanwhile_becomes_a_dead_letter_and_can_be_sent_once_it_is_back(
    platform: Platform, client, side: Receiver
):
    put(client, "crm", "webhook", side.url)
    job_id = post(client, "webhook", destination="crm", event="order.paid", data={})
    client.delete("/destinations/crm")
    platform.start_worker()
    platform.until(lambda: platform.job(job_id).status == "failed")
    put(client, "crm", "webhook", side.url)

    (letter,) = client.get("/failedJobs").json()["results"]
    client.post(f"/failedJobs/{letter['id']}/requeue")

    platform.until(lambda: platform.job(job_id).status == "completed")
    assert letter["error"]["kind"] == "destination_missing"


def test_when_all_jobs_of_a_batch_have_ended_its_webhook_is_told_once(platform: Platform, client, side: Receiver):
    platform.start_worker()
    for _ in range(2):
        platform.start_scheduler()
    secret = put(client, "crm", "webhook", side.url)
    emails = [{"email": f"ann{n}@example.org", "name": "Ann"} for n in range(3)]

    batch = client.post("/jobs/batch", json={"jobs": emails, "webhook": "crm"}).json()

    platform.until(lambda: client.get(f"/batches/{batch['id']}").json()["webhook"]["job_id"])
    job_id = UUID(client.get(f"/batches/{batch['id']}").json()["webhook"]["job_id"])
    platform.until(lambda: platform.job(job_id).status == "completed")
    (heard,) = side.heard
    told = Webhook(secret).verify(heard.body, heard.headers)
    assert (told["type"], told["data"]["id"], told["data"]["jobs"]) == (
        "batch.completed",
        batch["id"],
        {"completed": 3},
    )
