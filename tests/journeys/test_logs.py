"""Logs tell every trip by its ids, in JSON, and tell nobody's address, no body and no secret."""

from __future__ import annotations

import pytest
from django.conf import settings
from rest_framework_simplejwt.tokens import AccessToken

from scheduler.embedded.faulty_smtp import ACCEPT_THEN_DROP

pytestmark = pytest.mark.slow

NAMES_OF_A_TRIP = {"correlation_id", "job_id", "worker_id", "attempt"}
PASSWORD = "a long password"
KEYS = {"SECRET_KEY": "key-of-django-" + "0" * 40, "JWT_SIGNING_KEY": "key-of-tokens-" + "1" * 40}
SECRETS = ("somebody.private", "Zebra subject", "Quagga body", PASSWORD)


def letter(who: str, **options: object) -> dict[str, object]:
    payload = {"to": f"somebody.private.{who}@example.com", "subject": "Zebra subject", "text": "Quagga body"}
    return {"type": "email", "payload": payload, **options}


@pytest.fixture
def logs(platform, smtp, owner):
    """Every kind of end, over HTTP; the lines of API, worker and scheduler, and the tokens that were used."""
    owner.set_password(PASSWORD)
    owner.save()
    platform.env |= KEYS
    smtp.rcpt_answers["somebody.private.gone@example.com"] = "550 5.1.1 <somebody.private.gone@example.com> is gone"
    smtp.once("dot", "451 4.3.0 Quagga body, later")
    processes = {"worker": platform.start_worker(), "scheduler": platform.start_scheduler()}
    processes["api"], client = platform.start_api()

    client.post("/login", json={"username": "ann", "password": PASSWORD + "!"})
    tokens = client.post("/login", json={"username": "ann", "password": PASSWORD}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    client.post("/addJob", json=letter("again", dedupe_key="one"))
    platform.until_status("completed")
    client.post("/addJob", json=letter("twice", dedupe_key="one"))
    client.post("/addJob", json=letter("gone"))
    client.post("/addJob", json=letter("not an address"))
    client.post("/addJob", content=b'{"somebody.private"')
    client.get("/jobs", params={"recipient": "somebody.private.gone@example.com"})
    platform.until(lambda: platform.said(processes["worker"], "duplicate_suppressed"))
    platform.until(lambda: len(platform.said(processes["worker"], "job_settled")) == 3)
    smtp.at_dot = ACCEPT_THEN_DROP
    client.post("/addJob", json=letter("unknown"), headers={"X-Correlation-ID": "the-last-one"})
    platform.until(lambda: len(platform.said(processes["worker"], "job_settled")) == 4)
    platform.assert_books_balance()
    return processes, [*tokens.values(), str(AccessToken.for_user(owner)).split(".")[0]]


def test_every_line_of_a_trip_carries_its_ids_and_no_line_a_secret(platform, logs):
    processes, tokens = logs
    lines = {name: platform.lines(child) for name, child in processes.items()}

    trips = [line for line in lines["worker"] if "job_id" in line]
    assert {line["event"] for line in trips} >= {"job_settled", "duplicate_suppressed"}
    assert all(line.keys() >= NAMES_OF_A_TRIP for line in trips)
    last = [line for line in trips if line["correlation_id"] == "the-last-one"]
    assert [(line["event"], line["outcome"], line["attempt"]) for line in last] == [("job_settled", "unknown", 1)]
    asked = [line for line in lines["api"] if line.get("event") in ("request_finished", "job_accepted")]
    assert all("correlation_id" in line for line in asked)
    accepted = [line for line in lines["api"] if line.get("correlation_id") == "the-last-one"]
    assert [line["event"] for line in accepted] == ["job_accepted", "request_finished"]

    unreadable = [line for name in ("worker", "scheduler") for line in lines[name] if "unreadable" in line]
    assert unreadable == []
    told = "".join(child.log.read_text() for child in processes.values())
    secrets = [*SECRETS, *tokens, *KEYS.values(), settings.DATABASES["default"]["PASSWORD"]]
    assert [secret for secret in secrets if secret in told] == []
