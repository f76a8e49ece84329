"""Destinations: written, listed without their secrets, and named by jobs."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from typing import Any

import pytest
from django.db.models.functions import Now

from jobs import destinations
from jobs.models import Destination, Job

URL = "https://hooks.example.org/orders?token=t0ps3cret"
WEBHOOK: dict[str, Any] = {"kind": "webhook", "url": URL}
CHAT: dict[str, Any] = {"kind": "notification", "url": "tgram://123456789:abcdefg_hijklmnop/12315544/"}
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()

pytestmark = pytest.mark.django_db


def webhook_job(destination: str = "shop", **options: Any) -> dict[str, Any]:
    return {"type": "webhook", "payload": {"destination": destination, "event": "order.paid", "data": {}}} | options


# ── Written, and not shown ────────────────────────────────────────────────────────────────────


def test_a_webhook_without_a_secret_gets_one_which_is_shown_once(caller):
    made = caller.put("/destinations/shop", WEBHOOK)

    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    shown = [caller.get("/destinations/shop"), caller.get("/destinations")]
    for answer in shown:
        assert made.json()["secret"] not in answer.content.decode()
        assert "t0ps3cret" not in answer.content.decode()
    row = Destination.objects.get()
    assert b"t0ps3cret" not in bytes(row.sealed)
    assert destinations.opened(row.sealed) == destinations.Address(URL, made.json()["secret"])
    assert shown[0].json() == made.json() | {"secret": None}
    assert (shown[0].json()["hint"], shown[1].json()["results"]) == ("https://hooks.example.org", [shown[0].json()])


def test_written_anew_it_keeps_its_secret_unless_another_is_given(caller):
    first = caller.put("/destinations/shop", WEBHOOK).json()["secret"]

    again = caller.put("/destinations/shop", WEBHOOK | {"url": "https://other.example.org/"})

    assert (again.status_code, again.json()["secret"], again.json()["hint"]) == (200, None, "https://other.example.org")
    assert destinations.opened(Destination.objects.get().sealed).secret == first
    caller.put("/destinations/shop", WEBHOOK | {"secret": SECRET})
    assert destinations.opened(Destination.objects.get().sealed).secret == SECRET


def test_a_notification_shows_its_service_only(caller):
    made = caller.put("/destinations/on-call", CHAT)

    assert (made.status_code, made.json()["hint"], made.json()["secret"]) == (201, "Telegram", None)
    assert "hijklmnop" not in made.content.decode() + caller.get("/destinations").content.decode()


def test_what_is_disabled_is_enabled_by_writing_it_anew(caller):
    caller.put("/destinations/shop", WEBHOOK)
    Destination.objects.update(disabled_at=Now(), disabled_because="HTTP 410")
    assert caller.get("/destinations/shop").json()["disabled_because"] == "HTTP 410"

    answer = caller.put("/destinations/shop", WEBHOOK)

    assert (answer.json()["disabled_at"], answer.json()["disabled_because"]) == (None, None)


def test_a_deleted_one_is_gone(caller):
    caller.put("/destinations/shop", WEBHOOK)

    assert caller.delete("/destinations/shop").json()["name"] == "shop"

    assert caller.get("/destinations/shop").status_code == 404
    assert caller.delete("/destinations/shop").status_code == 404


def test_those_of_others_are_not_there(caller, stranger):
    caller.put("/destinations/shop", WEBHOOK)

    assert stranger.get("/destinations").json() == {"results": []}
    assert stranger.get("/destinations/shop").status_code == 404
    assert stranger.delete("/destinations/shop").status_code == 404
    assert stranger.post("/jobs", webhook_job()).status_code == 400
    assert stranger.put("/destinations/shop", WEBHOOK).status_code == 201


def test_nobody_is_told_anything(nobody):
    assert nobody.get("/destinations").status_code == 401
    assert nobody.put("/destinations/shop", WEBHOOK).status_code == 401


# ── What is refused ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "body", "field", "says"),
    [
        ("-shop", WEBHOOK, "name", "letters"),
        ("s" * 64, WEBHOOK, "name", "63"),
        ("shop", {"kind": "webhook"}, "url", "required"),
        ("shop", WEBHOOK | {"kind": "pigeon"}, "kind", "webhook, notification"),
        ("shop", WEBHOOK | {"urls": 1}, "urls", "`url`"),
        ("shop", WEBHOOK | {"url": "http://hooks.example.org/"}, "url", "https://"),
        ("shop", WEBHOOK | {"url": "ftp://hooks.example.org/"}, "url", "https://"),
        ("shop", WEBHOOK | {"url": "hooks.example.org"}, "url", "Example"),
        ("shop", WEBHOOK | {"url": "https://"}, "url", "Example"),
        ("shop", WEBHOOK | {"url": "https://hooks.example.org:99999/"}, "url", "Example"),
        ("shop", WEBHOOK | {"url": "https://hooks.example.org/ x"}, "url", "Example"),
        ("shop", WEBHOOK | {"url": "https://hooks.example.org/\r\nHost: x"}, "url", "Example"),
        ("shop", WEBHOOK | {"url": "https://ann:pw@hooks.example.org/"}, "url", "password"),
        ("shop", WEBHOOK | {"url": "https://hooks.example.org/" + "x" * 2000}, "url", "Example"),
        ("shop", WEBHOOK | {"secret": "secret"}, "secret", "whsec_"),
        ("shop", WEBHOOK | {"secret": "whsec_c2hvcnQ="}, "secret", "24 to 64"),
        ("shop", WEBHOOK | {"secret": "whsec_!!"}, "secret", "base64"),
        ("chat", CHAT | {"url": "nonsense://x"}, "url", "Apprise"),
        ("chat", CHAT | {"url": "slack://"}, "url", "Apprise"),
        ("chat", CHAT | {"url": "syslog://"}, "url", "server"),
        ("chat", CHAT | {"url": "\x00"}, "url", "Apprise"),
        ("chat", CHAT | {"secret": SECRET}, "secret", "Only webhooks"),
    ],
)
def test_what_cannot_be_one_is_refused_by_its_field(caller, name, body, field, says):
    answer = caller.put(f"/destinations/{name}", body)

    assert answer.status_code == 400
    assert says in answer.json()["errors"][field][0]
    assert not Destination.objects.exists()


def test_in_the_clear_only_where_networks_are_opened(caller, tunables):
    tunables(reachable_networks=(ip_network("127.0.0.0/8"),))

    assert caller.put("/destinations/shop", WEBHOOK | {"url": "http://127.0.0.1:9/"}).status_code == 201


def test_nobody_has_them_without_end(caller, monkeypatch):
    monkeypatch.setattr(destinations, "MOST", 1)
    caller.put("/destinations/one", WEBHOOK)

    refusal = caller.put("/destinations/two", WEBHOOK)

    assert (refusal.status_code, "Delete one" in refusal.json()["errors"]["name"][0]) == (400, True)
    assert caller.put("/destinations/one", WEBHOOK).status_code == 200


# ── Jobs that name one ────────────────────────────────────────────────────────────────────────


def test_a_job_that_names_one_is_accepted_with_its_type_s_attempts(caller):
    caller.put("/destinations/shop", WEBHOOK)

    answer = caller.post("/jobs", webhook_job())

    assert answer.status_code == 202
    job = Job.objects.get()
    assert (job.type, job.lane, job.max_attempts) == ("webhook", "messages", 10)


@pytest.mark.parametrize("named", ["shp", "on-call"])
def test_one_that_is_not_there_or_of_another_kind_is_refused_with_those_that_are(caller, named):
    caller.put("/destinations/shop", WEBHOOK)
    caller.put("/destinations/on-call", CHAT)

    answer = caller.post("/jobs", webhook_job(named))

    assert answer.status_code == 400
    assert "Yours: shop." in answer.json()["errors"]["payload.destination"][0]
    assert not Job.objects.exists()


def test_a_disabled_one_is_refused_with_what_its_receiver_said(caller):
    caller.put("/destinations/shop", WEBHOOK)
    Destination.objects.update(disabled_at=Now(), disabled_because="HTTP 410: gone fishing.")

    says = caller.post("/jobs", webhook_job()).json()["errors"]["payload.destination"][0]

    assert "gone fishing" in says
    assert "PUT it anew" in says


def test_the_first_answer_is_given_again_although_the_destination_is_gone(caller):
    caller.put("/destinations/shop", WEBHOOK)
    first = caller.post("/jobs", webhook_job(), Idempotency_Key="k")
    caller.delete("/destinations/shop")

    again = caller.post("/jobs", webhook_job(), Idempotency_Key="k")

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert caller.post("/jobs", webhook_job()).status_code == 400


def test_of_a_batch_only_those_are_refused_that_name_none(caller):
    caller.put("/destinations/shop", WEBHOOK)
    email = {"email": "ann@example.org", "name": "Ann"}

    answer = caller.post("/jobs/batch", {"jobs": [webhook_job(), webhook_job("nowhere"), email]})

    results = answer.json()["results"]
    assert [sorted(result) for result in results] == [
        ["id", "index", "status"],
        ["error", "index"],
        ["id", "index", "status"],
    ]
    assert "payload.destination" in results[1]["error"]["errors"]


@pytest.mark.parametrize(
    ("type", "payload", "field"),
    [
        ("webhook", {"destination": "shop", "event": "", "data": {}}, "payload.event"),
        ("webhook", {"destination": "shop", "event": "order paid", "data": {}}, "payload.event"),
        ("webhook", {"destination": "shop", "event": "order.paid", "data": []}, "payload.data"),
        ("webhook", {"event": "order.paid", "data": {}}, "payload.destination"),
        ("notification", {"destination": "on-call", "body": ""}, "payload.body"),
        ("notification", {"destination": "on-call", "body": "x" * 32_001}, "payload.body"),
        ("notification", {"destination": "on-call", "body": "x", "title": "a\nb"}, "payload.title"),
        ("notification", {"destination": "on-call", "body": "x", "level": "loud"}, "payload.level"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_its_field(caller, type, payload, field):
    answer = caller.post("/jobs", {"type": type, "payload": payload})

    assert answer.status_code == 400
    assert field in answer.json()["errors"]
