"""Email services tell what became of mails: in their own forms, signed as they sign, to the API as it is mounted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.http import HttpRequest
from django.urls import path
from prometheus_client import REGISTRY

from jobs import chores, intake, requests
from jobs.api import told
from jobs.models import Event, Suppression
from jobs.states import EventKind, SuppressionReason
from scheduler.urls import urlpatterns as of_the_api
from tests.jobs.transitions.builders import an_owner, sql

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

SECRET = "events:0123456789abcdef"
SIGNING_KEY = "mailgun-signing-key"
ANN, BOB = "Ann@example.org", "bob@example.org"


@pytest.fixture(autouse=True)
def set_up(settings):
    """As EVENT_SECRETS and EVENT_KEYS set it."""
    secrets = [SECRET, "events:the-next-0123456789"]
    settings.ANYMAIL = {"WEBHOOK_SECRET": secrets, "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY}


urlpatterns = [path("events/<str:esp>", told.told), *of_the_api]  # as with EVENT_SECRETS


def a_mail(*to: str, owner=None) -> UUID:
    body = {"type": "email", "payload": {"to": list(to) or [ANN], "subject": "Hello", "text": "Hello."}}
    return intake.accept(requests.read(body), owner_id=(owner or an_owner()).pk, correlation_id="c").job_id


def tell(client, esp: str, body: object, *, secret: str | None = SECRET, **extra):
    headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"} if secret else {}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/events/{esp}", raw, content_type="application/json", headers=headers, **extra)


def postmark(job_id: UUID, record: str = "Delivery", **fields):
    """https://postmarkapp.com/developer/webhooks/webhooks-overview"""
    who = {"Recipient": ANN.lower()} if record == "Delivery" else {"Email": ANN}
    at = "DeliveredAt" if record == "Delivery" else "BouncedAt"
    return {
        "RecordType": record,
        "ServerID": 23,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Metadata": {"job_id": str(job_id)},
        "Tag": "email",
        at: "2026-11-21T16:34:52Z",
        "Details": "250 2.0.0 OK",
        **who,
        **fields,
    }


def mailgun(job_id: UUID, event: str = "delivered", *, key: str = SIGNING_KEY, token: str | None = None, **fields):
    """https://documentation.mailgun.com/docs/mailgun/user-manual/events/webhooks#securing-webhooks"""
    timestamp, token = str(int(time.time())), token or uuid4().hex
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {
        "signature": {"timestamp": timestamp, "token": token, "signature": signature},
        "event-data": {
            "event": event,
            "id": "CPgfbmQMTCKtHW6uIWtuVe",
            "timestamp": 1521472262.908181,
            "recipient": ANN,
            "message": {"headers": {"message-id": f"{job_id}@sendonce.example"}},
            "user-variables": {"job_id": str(job_id)},
            "delivery-status": {"code": 250, "message": "OK", "description": ""},
            **fields,
        },
    }


# ── What is written down ──────────────────────────────────────────────────────────────────────


def test_a_delivery_is_written_down_for_the_job_and_its_owner(client):
    job_id, before = a_mail(), counted("delivered")

    assert tell(client, "postmark", postmark(job_id)).status_code == 200

    event = Event.objects.get()
    assert (event.job_id, event.owner_id, event.esp, event.kind) == (job_id, an_owner().pk, "postmark", "delivered")
    assert (event.recipient, event.detail, event.reason) == (ANN.lower(), "250 2.0.0 OK", "")
    assert event.at.isoformat() == "2026-11-21T16:34:52+00:00"
    assert counted("delivered") == before + 1


def counted(kind: str) -> float:
    return REGISTRY.get_sample_value("email_events_total", {"kind": kind}) or 0.0


def test_a_signed_event_is_written_down(client):
    job_id = a_mail()

    assert tell(client, "mailgun", mailgun(job_id)).status_code == 200

    assert [(event.kind, event.esp, event.job_id) for event in Event.objects.all()] == [
        ("delivered", "mailgun", job_id)
    ]


def test_any_of_the_secrets_opens(client):
    assert tell(client, "postmark", postmark(a_mail()), secret="events:the-next-0123456789").status_code == 200
    assert Event.objects.count() == 1


def test_a_mail_that_went_by_smtp_is_known_by_our_message_id(client):
    job_id = a_mail()

    tell(client, "mailgun", mailgun(job_id, **{"user-variables": {}}))

    assert Event.objects.get().job_id == job_id


def test_an_event_that_is_told_again_adds_nothing(client):
    job_id, before = a_mail(), counted("delivered")
    of_postmark, of_mailgun = postmark(job_id), mailgun(job_id)

    for _ in range(2):
        assert tell(client, "postmark", of_postmark).status_code == 200
        assert tell(client, "mailgun", of_mailgun).status_code == 200

    assert Event.objects.count() == 2
    assert counted("delivered") == before + 2


def test_many_events_come_in_one_call(client):
    job_id = a_mail(ANN, BOB)
    mail = {"job_id": str(job_id), "timestamp": 1700000000}
    batch = [
        {"event": kind, "email": email, "sg_event_id": f"{kind}-{email}", **mail}
        for kind in ("processed", "delivered", "open")
        for email in (ANN, BOB)
    ]

    with pytest.warns(match="SendGrid"):
        assert tell(client, "sendgrid", batch).status_code == 200

    assert Event.objects.filter(kind=EventKind.DELIVERED).count() == Event.objects.filter(kind="queued").count() == 2
    assert Event.objects.count() == 4


@pytest.mark.parametrize("esp", ["mailgun", "postmark"])
def test_an_event_of_no_job_of_ours_is_counted_and_answered_well(client, esp):
    before = counted("unmatched")
    body = {"mailgun": mailgun, "postmark": postmark}[esp](uuid4())

    assert tell(client, esp, body).status_code == 200
    assert (Event.objects.count(), counted("unmatched")) == (0, before + 1)


def test_an_event_without_a_job_is_counted_too(client):
    before = counted("unmatched")

    assert tell(client, "postmark", postmark(uuid4(), Metadata={"job_id": ["no", "id"]})).status_code == 200
    assert counted("unmatched") == before + 1


def test_an_event_about_somebody_the_job_did_not_write_to_is_not_its_own(client):
    """Whoever may send may put any job's id into a mail's metadata."""
    tell(client, "postmark", postmark(a_mail(), "Bounce", Type="HardBounce", Email="victim@example.org", ID=1))

    assert (Event.objects.count(), Suppression.objects.count()) == (0, 0)


def test_words_of_others_are_made_fit_for_a_row(client):
    job_id = a_mail()

    tell(client, "postmark", postmark(job_id, Details="\0\ud800 " + "x" * 5000, Description="line\nbreak"))

    assert Event.objects.get().detail.startswith("line break")
    assert len(Event.objects.get().detail) == 500


def test_events_go_with_their_job(client):
    job_id, other = a_mail(), a_mail()
    for each in (job_id, other):
        tell(client, "postmark", postmark(each))
    sql("UPDATE jobs_job SET status = 'completed', finished_at = now() - interval '9 days' WHERE id = %s", job_id)

    assert chores.prune("jobs", days=5, decided_days=5, limit=10) == 1
    assert list(Event.objects.values_list("job_id", flat=True)) == [other]


# ── Who may tell ──────────────────────────────────────────────────────────────────────────────


def test_without_a_secret_it_is_asked_for(client):
    answer = tell(client, "postmark", postmark(a_mail()), secret=None)

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Basic realm="events"')
    assert not Event.objects.exists()


@pytest.mark.parametrize("secret", ["events:wrong-0123456789", "other:0123456789abcdef", "events:", ":", "events"])
def test_a_wrong_secret_is_refused_and_nothing_is_written(client, secret):
    answer = tell(client, "postmark", postmark(a_mail()), secret=secret)

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body["signature"].update(signature="0" * 64),
        lambda body: body["signature"].update(token="another"),
        lambda body: body["signature"].update(timestamp="1"),
        lambda body: body.pop("signature"),
    ],
)
def test_a_forged_signature_is_refused_although_the_secret_is_right(client, spoil):
    body = mailgun(a_mail())
    spoil(body)

    assert tell(client, "mailgun", body).status_code == 403
    assert not Event.objects.exists()


def test_another_key_signs_nothing(client):
    assert tell(client, "mailgun", mailgun(a_mail(), key="another")).status_code == 403
    assert not Event.objects.exists()


def test_a_service_whose_key_is_missing_is_asked_to_come_again(client, settings):
    settings.ANYMAIL = {"WEBHOOK_SECRET": [SECRET]}

    answer = tell(client, "mailgun", mailgun(a_mail()))

    assert (answer.status_code, answer["Retry-After"]) == (503, "600")
    assert not Event.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"RecordType": "Delivery", "DeliveredAt": 7}', b"\xff"])
def test_what_are_no_events_is_refused(client, body):
    answer = tell(client, "postmark", body)

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_not_read(client):
    answer = tell(client, "postmark", b"{}", CONTENT_LENGTH=str(10**9))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_service_that_does_not_exist_is_told_the_known_ones(client):
    answer = tell(client, "postmrk", {})

    assert answer.status_code == 404
    assert "postmark" in answer.json()["detail"]


def test_other_methods_do_nothing(client):
    assert client.head("/events/postmark").status_code == 200  # some ask whether the address is there
    assert client.get("/events/postmark").status_code == 405


@pytest.mark.django_db(transaction=True)
def test_while_postgresql_is_away_the_service_is_asked_to_come_again(client, postgres):
    body = postmark(a_mail())

    postgres.go_away()
    answer = tell(client, "postmark", body)
    postgres.come_back()

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert tell(client, "postmark", body).status_code == 200
    assert Event.objects.count() == 1


@pytest.mark.urls("scheduler.urls")
def test_without_a_secret_in_the_settings_there_is_no_such_address(client):
    assert not settings.SENDONCE["event_secrets"]
    assert tell(client, "postmark", postmark(a_mail())).status_code == 404


# ── Whom it suppresses ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("record", "type", "reason"),
    [
        ("Bounce", "HardBounce", SuppressionReason.HARD_BOUNCE),
        ("Bounce", "BadEmailAddress", SuppressionReason.HARD_BOUNCE),
        ("Bounce", "SoftBounce", None),
        ("Bounce", "Transient", None),
        ("Bounce", "Blocked", None),
        ("Bounce", "DnsError", None),
        ("Bounce", "SomethingNew", None),
        ("SpamComplaint", "SpamComplaint", SuppressionReason.COMPLAINT),
        ("Bounce", "SpamNotification", SuppressionReason.COMPLAINT),
        ("Bounce", "Unsubscribe", SuppressionReason.UNSUBSCRIBE),
    ],
)
def test_final_bounces_complaints_and_unsubscriptions_suppress(client, record, type, reason):
    job_id = a_mail()

    tell(client, "postmark", postmark(job_id, record, Type=type, ID=42, Description="The words."))

    assert Event.objects.count() == 1
    found = [(row.owner_id, row.address, row.reason) for row in Suppression.objects.all()]
    assert found == ([(an_owner().pk, ANN.lower(), reason)] if reason else [])


@pytest.mark.parametrize(
    ("event", "fields", "suppresses"),
    [
        ("failed", {"severity": "permanent", "reason": "bounce"}, True),
        ("failed", {"severity": "permanent", "reason": "suppress-bounce"}, True),
        ("failed", {"severity": "permanent", "reason": "generic"}, False),
        ("failed", {"severity": "temporary", "reason": "bounce"}, False),
        ("failed", {"severity": "temporary", "reason": "generic"}, False),
        ("complained", {}, True),
        ("unsubscribed", {}, True),
        ("delivered", {}, False),
    ],
)
def test_mailguns_words_for_it(client, event, fields, suppresses):
    tell(client, "mailgun", mailgun(a_mail(), event, **fields))

    assert Suppression.objects.exists() is suppresses


def test_of_several_recipients_nobody_is_suppressed_by_a_guess(client):
    """Resend does not say whom it means; anymail names the first."""
    for to, expected in ((ANN, BOB), 0), ((ANN,), 1):
        bounce = {
            "type": "email.bounced",
            "created_at": "2026-11-21T16:34:52Z",
            "data": {
                "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
                "to": list(to),
                "bounce": {"message": "a bounce message", "subType": "General", "type": "Permanent"},
                "headers": [{"name": "X-Metadata", "value": json.dumps({"job_id": str(a_mail(*to))})}],
            },
        }
        assert tell(client, "resend", bounce).status_code == 200
        assert Suppression.objects.count() == expected
    assert list(Event.objects.order_by("id").values_list("recipient", flat=True)) == ["", ANN.lower()]


# ── Who reads it ──────────────────────────────────────────────────────────────────────────────


def test_the_owner_reads_them_in_order_and_nobody_else(caller, stranger, nobody, client):
    job_id = a_mail(owner=caller.user)
    tell(client, "postmark", postmark(job_id))
    tell(client, "postmark", postmark(job_id, "Bounce", Type="HardBounce", ID=1, BouncedAt="2026-11-20T16:34:52Z"))

    results = caller.get(f"/jobs/{job_id}/events").json()["results"]

    assert [event["kind"] for event in results] == ["bounced", "delivered"]
    assert results[0] | {"detail": ""} == {
        "kind": "bounced",
        "at": "2026-11-20T16:34:52Z",
        "recipient": ANN.lower(),
        "esp": "postmark",
        "reason": "bounced",
        "detail": "",
    }
    assert stranger.get(f"/jobs/{job_id}/events").status_code == 404
    assert nobody.get(f"/jobs/{job_id}/events").status_code == 401
    assert caller.get(f"/jobs/{uuid4()}/events").status_code == 404


# ── What strangers, and holders of a secret, may not do ───────────────────────────────────────


@pytest.mark.parametrize("esp", ["postmark", "unisender_go", "mandrill", "mailgun"])
def test_what_a_stranger_sends_is_not_read(client, monkeypatch, esp):
    """Some services' signatures stand in the body: whoever knows no secret has it neither parsed nor copied."""
    monkeypatch.setattr(HttpRequest, "body", property(lambda request: pytest.fail("it was read")))

    assert tell(client, esp, b"[" * 100, secret="somebody:else").status_code == 403


@pytest.mark.filterwarnings("ignore:django-anymail has dropped official support for SendGrid")  # its authors' word
@pytest.mark.parametrize("body", [b"[" * 100_000, b'[{"timestamp": 1e30, "event": "delivered"}]'])
def test_what_cannot_be_read_is_told_so(client, body):
    assert tell(client, "sendgrid", body).status_code == 400


def test_services_that_are_not_used_tell_nothing(client):
    assert tell(client, "amazon_ses", b"{}").status_code == 404
