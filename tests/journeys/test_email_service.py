"""Mails that go by an email service over HTTP: from the API to the service, and what the service tells of them."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from jobs.models import Delivery, Suppression
from scheduler.embedded.child import wait_for
from tests.journeys.platform import Platform
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.slow

TAKEN = {"ErrorCode": 0, "Message": "OK", "MessageID": "pm-1", "To": "ann@example.org"}
SECRET = ("events", "0123456789abcdef")


@pytest.fixture
def postmark(platform: Platform):
    """Beside the SMTP server, which is the first, and has all but welcome emails."""
    with receiver() as side:
        side.answers = [(200, {}, json.dumps(TAKEN).encode())]
        platform.env["EMAIL_PROVIDERS"] += f",pm=anymail+postmark://?server_token=TOKEN&api_url={side.url}"
        platform.env["TYPE_PROVIDERS"] = "welcome_email=pm"
        platform.env["EVENT_SECRETS"] = ":".join(SECRET)
        platform.env |= {"CONNECT_TIMEOUT_SECONDS": "1", "HTTP_TIMEOUT_SECONDS": "1"}
        yield side


@pytest.fixture
def client(platform: Platform, postmark: Receiver):
    platform.env["SIGNUP_OPEN"] = "true"
    _, client = platform.start_api()
    answer = client.post("/signup", json={"username": "shop", "password": "correct horse battery"})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def welcome(client, email: str = "ann@example.org") -> UUID:
    answer = client.post("/addJob", json={"email": email, "name": "Ann"})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def tell(client, job_id: UUID, record: str, **fields) -> None:
    told = {"RecordType": record, "Metadata": {"job_id": str(job_id)}, "MessageID": "pm-1", **fields}
    assert client.post("/events/postmark", json=told, auth=SECRET).status_code == 200


def test_a_mail_goes_by_the_service_of_its_type_and_the_service_tells_of_it(platform, client, postmark):
    platform.start_worker()

    by_smtp, job_id = platform.accept("bob@example.com"), welcome(client)
    platform.until(lambda: platform.job(job_id).status == platform.job(by_smtp).status == "completed")
    tell(client, job_id, "Bounce", Type="HardBounce", Email="ann@example.org", ID=1, Description="No such user")

    (heard,) = postmark.heard
    assert json.loads(heard.body)["Metadata"] == {"job_id": str(job_id)}
    result = client.get(f"/jobs/{job_id}").json()["result"]
    assert (result["provider"], result["esp_message_id"]) == ("pm", "pm-1")
    assert platform.copies(by_smtp) == 1
    assert [event["kind"] for event in client.get(f"/jobs/{job_id}/events").json()["results"]] == ["bounced"]
    assert Suppression.objects.get().address == "ann@example.org"
    mail = {"to": "ann@example.org", "subject": "Again", "text": "Again."}
    again = UUID(client.post("/jobs", json={"type": "email", "payload": mail}).json()["id"])
    platform.until(lambda: platform.job(again).status == "failed")  # nobody is left to write to
    assert client.post("/events/postmark", json={}, auth=("events", "wrong")).status_code == 403


def test_a_refusal_is_tried_again_and_a_no_for_good_is_a_dead_letter(platform, client, postmark):
    accepted = postmark.answers[0]
    postmark.answers = [(429, {}, b"{}"), (401, {}, b"{}"), accepted, (422, {}, b'{"ErrorCode": 300, "Message": "No"}')]
    platform.start_worker()
    platform.start_scheduler()

    first = welcome(client)
    platform.until(lambda: platform.job(first).status == "completed")
    second = welcome(client, "bob@example.org")
    platform.until(lambda: platform.job(second).status == "failed")

    assert platform.outcomes(first) == ["transient", "transient", "sent"]
    assert platform.outcomes(second) == ["permanent"]
    assert len(postmark.heard) == 4


def test_a_service_that_falls_silent_leaves_an_unknown_which_is_closed_by_what_it_tells(platform, client, postmark):
    postmark.answers = [None]
    platform.start_worker()

    job_id = welcome(client)
    platform.until(lambda: platform.job(job_id).status == "unknown")
    assert len(postmark.heard) == 1
    assert Delivery.objects.get(job_id=job_id).provider == "pm"

    tell(client, job_id, "Delivery", Recipient="ann@example.org", DeliveredAt="2026-11-21T16:34:52Z")
    platform.start_scheduler()
    platform.until(lambda: platform.job(job_id).status == "completed")
    assert platform.job(job_id).result["evidence"] == "postmark: It told 'delivered', at 2026-11-21T16:34:52+00:00."
    assert len(postmark.heard) == 1


def test_a_worker_leaves_in_time_although_a_service_is_silent(platform, client, postmark):
    platform.env |= {"HTTP_TIMEOUT_SECONDS": "60", "DRAIN_SECONDS": "0.5"}
    postmark.holds = True
    worker = platform.start_worker()

    job_id = welcome(client)
    platform.until(lambda: postmark.heard)
    worker.stop(within=15)

    assert worker.returncode == 0
    assert platform.job(job_id).status == "unknown"


def test_a_worker_whose_provider_misses_a_parameter_does_not_start(platform, postmark):
    platform.env["EMAIL_PROVIDERS"] = "pm=anymail+mailgun://?sender_domain=secret.example.org"
    worker = platform.start_worker()

    assert wait_for(lambda: not worker.is_running, within=15)
    text = worker.log.read_text()
    assert worker.returncode == 1
    assert "EMAIL_PROVIDERS: 'pm': the parameter api_key is missing." in text
    assert "secret.example.org" not in text
