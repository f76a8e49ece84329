"""One email, from the client's request to the recipient's server and back."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes

import pytest

from jobs.models import Attempt, Delivery
from jobs.states import DeliveryState, Outcome

pytestmark = pytest.mark.slow

BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}


def test_an_email_is_accepted_sent_and_told_as_completed_over_http(platform, smtp, owner):
    owner.set_password("a long password")
    owner.save()
    platform.start_worker()
    platform.start_scheduler()
    _, client = platform.start_api()

    tokens = client.post("/login", json={"username": "ann", "password": "a long password"}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    answer = client.post("/addJob", json=BODY, headers={"X-Correlation-ID": "order-42"})
    where = answer.headers["Location"]
    job = platform.until(lambda: (read := client.get(where).json())["status"] == "completed" and read)

    mail = message_from_bytes(smtp.accepted[0].body)
    assert (answer.status_code, answer.headers["X-Correlation-ID"]) == (202, "order-42")
    assert smtp.accepted[0].recipients == ("bob@example.com",)
    assert (mail["Subject"], mail.get_payload().strip()) == ("Your order", "It is on its way.")
    assert (mail["X-Job-ID"], mail["X-Correlation-ID"]) == (job["id"], "order-42")
    assert job["result"]["message_id"] == mail["Message-ID"]
    assert (job["result"]["provider"], job["result"]["accepted"]) == ("main", ["bob@example.com"])
    assert (job["attempts"], job["last_error"]) == (1, None)

    attempt = Attempt.objects.get(job_id=job["id"])
    assert (attempt.number, attempt.outcome, attempt.code, attempt.provider) == (1, Outcome.SENT, 250, "main")
    assert attempt.worker is not None
    assert Delivery.objects.get().state == DeliveryState.SENT
    platform.assert_books_balance()


def test_an_email_for_later_leaves_when_it_is_due(platform):
    platform.start_worker()
    platform.start_scheduler()

    job_id = platform.accept(delay_seconds=0.5)
    platform.until_status("completed", job_id)

    job, attempt = platform.job(job_id), Attempt.objects.get()
    assert job.accepted_as == "scheduled"
    assert attempt.started_at >= job.run_at >= job.created_at + timedelta(seconds=0.5)
    platform.assert_books_balance()
