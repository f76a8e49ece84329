"""Webhooks, against real HTTP servers: signed, once each attempt, and only where they may go."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID

import msgspec
import pytest
import trustme
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jobs import sealing, webhooks
from jobs.claims import Claim, SealedDestination
from jobs.destinations import Address
from jobs.errors import DeliveryError, Invalid, Permanent, Transient
from jobs.settlements import GONE
from tests.receiver import Receiver, receiver
from workers.channels.base import Receipt
from workers.channels.webhook import EXCERPT_BYTES, WebhookChannel

SECRET = webhooks.new_secret()
JOB = UUID("0190163d-8694-739b-aea5-966c26f8ad91")  # UUIDv7, of 2024-06-14T10:14:09.300Z
LOOPBACK = ip_network("127.0.0.0/8")


@pytest.fixture(autouse=True)
def conf(tunables):
    return tunables(reachable_networks=(LOOPBACK,), http_timeout_seconds=10.0)


def a_webhook(url: str, *, data: dict | None = None, **destination) -> Claim:
    found = {"kind": "webhook", "sealed": sealing.seal(msgspec.json.encode(Address(url, SECRET))), "is_disabled": False}
    return Claim(
        job_id=JOB,
        token=1,
        dedupe_hash=JOB.bytes,
        attempt=1,
        max_attempts=10,
        priority="default",
        provider=None,
        correlation_id="c",
        claimed_at=datetime.now(UTC),
        type="webhook",
        payload={"destination": "shop", "event": "order.paid", "data": {"order": 4711} if data is None else data},
        destination=SealedDestination(name="shop", **found | destination),
    )


def post(claim: Claim, conf) -> Receipt | DeliveryError:
    async def trip() -> Receipt:
        channel = WebhookChannel(conf)
        try:
            parcel = channel.prepare(claim)
            async with channel.connect(parcel, *channel.routes(parcel)) as line:
                await line.offer(parcel)
                return await line.commit()
        finally:
            await channel.close()

    try:
        return asyncio.run(trip())
    except DeliveryError as error:
        return error


@pytest.fixture
def side():
    with receiver() as side:
        yield side


# ── What is said ──────────────────────────────────────────────────────────────────────────────


def test_an_event_is_posted_and_its_signature_is_good(side: Receiver, conf):
    receipt = post(a_webhook(f"{side.url}/orders?a=1", data={"name": "Ännë"}), conf)

    assert (receipt.provider, receipt.code, receipt.detail) == ("shop", 200, "ok")
    (heard,) = side.heard
    assert heard.path == "/orders?a=1"
    assert Webhook(SECRET).verify(heard.body, heard.headers) == {
        "type": "order.paid",
        "timestamp": "2024-06-14T10:14:09.300000Z",
        "data": {"name": "Ännë"},
    }
    assert (heard.headers["webhook-id"], heard.headers["content-type"]) == (str(JOB), "application/json")
    assert heard.headers["host"] == side.url.removeprefix("http://")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.new_secret()).verify(heard.body, heard.headers)


def test_of_a_long_answer_the_beginning_is_kept(side: Receiver, conf):
    side.answers = [(201, {}, b"x" * 1_000_000)]

    receipt = post(a_webhook(side.url), conf)

    assert (receipt.code, len(receipt.detail) >= EXCERPT_BYTES, set(receipt.detail)) == (201, True, {"x"})
    assert len(receipt.result["reply"]["detail"]) == 500


# ── What is answered ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "headers", "kind", "after"),
    [
        (500, {}, "http_5xx", None),
        (503, {"Retry-After": "17"}, "http_5xx", 17.0),
        (429, {"retry-after": "3"}, "http_4xx", 3.0),
        (404, {}, "http_4xx", None),
    ],
)
def test_any_other_answer_is_tried_again_and_retry_after_counts(side: Receiver, conf, status, headers, kind, after):
    side.answers = [(status, headers, b"not now")]

    error = post(a_webhook(side.url), conf)

    assert type(error) is Transient
    assert (error.code, error.kind, error.retry_after) == (status, kind, after)
    assert error.detail == f"HTTP {status}: not now"


def test_gone_is_for_ever(side: Receiver, conf):
    side.answers = [(410, {}, b"no more")]

    error = post(a_webhook(side.url), conf)

    assert (type(error), error.kind, error.code) == (Permanent, GONE, 410)


def test_redirects_are_not_followed(side: Receiver, conf):
    with receiver() as elsewhere:
        side.answers = [(307, {"location": elsewhere.url}, b"")]

        error = post(a_webhook(side.url), conf)

        assert (type(error), error.code, elsewhere.url in error.detail) == (Transient, 307, True)
        assert elsewhere.heard == []


def test_no_answer_is_tried_again_with_the_same_id(side: Receiver, conf):
    side.answers = [None, (200, {}, b"")]

    error = post(a_webhook(side.url), conf)
    receipt = post(a_webhook(side.url), conf)

    assert (type(error), error.kind, receipt.code) == (Transient, "unreachable", 200)
    assert [heard.headers["webhook-id"] for heard in side.heard] == [str(JOB)] * 2


def test_who_does_not_answer_in_time_is_asked_again_later(side: Receiver, tunables):
    side.holds = True

    error = post(a_webhook(side.url), tunables(http_timeout_seconds=0.2))

    assert (type(error), error.kind) == (Transient, "timeout")


def test_nobody_there(conf):
    with receiver() as side:
        pass

    error = post(a_webhook(side.url), conf)

    assert (type(error), error.kind) == (Transient, "unreachable")


# ── Where it may go ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
def test_our_own_network_is_out_of_reach(side: Receiver, tunables, host):
    conf = tunables(reachable_networks=())
    port = side.url.rpartition(":")[2]

    error = post(a_webhook(f"https://{host}:{port}/"), conf)

    assert (type(error), error.kind) == (Permanent, "address_refused")
    assert "REACHABLE_NETWORKS" in error.detail
    assert side.heard == []


def test_a_name_is_looked_up_once_and_what_was_looked_at_is_connected_to(side: Receiver, conf, monkeypatch):
    """A name server that says something else each time: what it said first decides."""
    asked, really = [], socket.getaddrinfo

    def rebinding(host, port, *args, **kwargs):
        if host == "rebinding.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return really(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)

    receipt = post(a_webhook(side.url.replace("127.0.0.1", "rebinding.example")), conf)

    assert (receipt.code, len(asked)) == (200, 1)
    assert side.heard[0].headers["host"].startswith("rebinding.example:")


def test_in_the_clear_only_to_networks_that_were_opened(conf, monkeypatch):
    public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: public)

    error = post(a_webhook("http://public.example/"), conf)

    assert (type(error), error.kind) == (Permanent, "address_refused")


def test_a_server_must_prove_its_name(conf, tmp_path, monkeypatch):
    ours, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost").configure_cert(context)
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    with receiver(tls=context) as side:
        url = side.url.replace("127.0.0.1", "localhost")
        stranger = post(a_webhook(url), conf)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        wrong_name = post(a_webhook(side.url), conf)
        receipt = post(a_webhook(url), conf)

    for error in (stranger, wrong_name):
        assert (type(error), error.kind, "certificate" in error.detail.lower()) == (Transient, "unreachable", True)
    assert receipt.code == 200


# ── What cannot be sent ───────────────────────────────────────────────────────────────────────


def test_without_its_destination_it_cannot_go(conf):
    claim = a_webhook("https://hooks.example.org/")
    keyless = SealedDestination(name="shop", kind="webhook", sealed=b"junk", is_disabled=False)

    cases = {
        "destination_missing": msgspec.structs.replace(claim, destination=None),
        "destination_disabled": a_webhook("https://hooks.example.org/", is_disabled=True),
        "destination_sealed": msgspec.structs.replace(claim, destination=keyless),
    }

    for kind, case in cases.items():
        error = post(case, conf)
        assert (type(error), error.kind, "requeue" in error.detail) == (Permanent, kind, True)


def test_a_payload_that_lost_its_shape_is_invalid(conf):
    claim = msgspec.structs.replace(a_webhook("https://hooks.example.org/"), payload={"destination": "shop"})

    assert type(post(claim, conf)) is Invalid
