"""Who wants no mail gets none: put on the list by the API, or by one click in a mail that arrived."""

from __future__ import annotations

from email import message_from_bytes, policy
from urllib.parse import urlsplit

import httpx
import pytest

from jobs.models import DeadLetter
from scheduler.embedded.child import free_port
from tests.journeys.platform import metric

pytestmark = pytest.mark.slow

ANN, BOB = "Ann@example.com", "bob@example.com"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def client(platform, owner):
    owner.set_password("a long password")
    owner.save()
    platform.env |= {"PUBLIC_URL": "https://mail.example.org/post"}
    platform.start_scheduler()
    _, client = platform.start_api()
    tokens = client.post("/login", json={"username": "ann", "password": "a long password"}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return client


def post(client, *to, **payload):
    """A job; what is answered about it."""
    body = {"type": "email", "payload": {"to": list(to), "subject": "News", "text": "Hello."} | payload}
    return client.post("/jobs", json=body).json()["id"]


def ended(platform, client, job_id, status):
    return platform.until(lambda: (read := client.get(f"/jobs/{job_id}").json())["status"] == status and read)


def test_nobody_on_the_list_is_mailed_and_all_others_are(platform, smtp, client):
    worker = platform.start_worker()
    client.post("/suppressions", json={"addresses": [ANN.lower()], "reason": "complaint"})

    nobody, some, others = post(client, ANN), post(client, ANN, BOB), post(client, BOB)
    dead = ended(platform, client, nobody, "failed")
    sent = ended(platform, client, some, "completed")
    ended(platform, client, others, "completed")

    assert [mail.recipients for mail in smtp.accepted] == [(BOB,), (BOB,)]
    assert dead["last_error"]["kind"] == "suppressed"
    assert f"{ANN} (complaint)" in dead["last_error"]["detail"]
    assert (sent["result"]["accepted"], sent["result"]["suppressed"]) == ([BOB], [ANN])
    (letter,) = client.get("/failedJobs", params={"reason": "suppressed"}).json()["results"]
    assert letter["job_id"] == nobody
    assert len(platform.said(worker, "recipients_left_out")) == 1
    platform.assert_books_balance()

    assert client.delete(f"/suppressions/{ANN}").status_code == 200
    assert client.post(f"/failedJobs/{letter['id']}/requeue").status_code == 200
    ended(platform, client, nobody, "completed")
    assert smtp.accepted[-1].recipients == (ANN,)
    platform.assert_books_balance()


def test_one_click_in_a_mail_that_arrived_ends_mail_of_its_topic_and_no_other(platform, smtp, client):
    platform.start_worker()
    news = {"unsubscribe": {"topic": "news"}}
    first = post(client, ANN, **news)
    ended(platform, client, first, "completed")
    mail = message_from_bytes(smtp.accepted[0].body, policy=policy.default)
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://mail.example.org/post/unsubscribe/")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    path = urlsplit(link).path.removeprefix("/post")  # as a proxy in front of the API does
    nobody = {"Authorization": ""}
    looked = client.get(path, headers=nobody)
    assert (looked.status_code, client.get("/suppressions").json()["results"]) == (200, [])
    clicks = [client.post(path, data=ONE_CLICK, headers=nobody).status_code for _ in range(2)]
    second, invoice = post(client, ANN, **news), post(client, ANN)
    ended(platform, client, second, "failed")
    ended(platform, client, invoice, "completed")

    assert clicks == [200, 200]
    (entry,) = client.get("/suppressions").json()["results"]
    assert (entry["address"], entry["topic"], entry["job_id"]) == (ANN.lower(), "news", first)
    assert [mail.body.count(b"List-Unsubscribe:") for mail in smtp.accepted] == [1, 0]
    assert DeadLetter.objects.get().reason == "suppressed"
    platform.assert_books_balance()


def test_what_was_left_out_is_counted(platform, client):
    platform.start_worker("--metrics-port", str(port := free_port()))
    client.post("/suppressions", json={"addresses": [ANN], "reason": "hard_bounce"})

    ended(platform, client, post(client, ANN), "failed")

    text = platform.until(lambda: httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text)
    assert metric(text, "suppressed_total", reason="hard_bounce") == 1
    assert metric(text, "suppressed_total", reason="complaint") == 0
    assert metric(text, "jobs_processed_total", status="failed", type="email") == 1
