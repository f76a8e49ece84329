"""Email services over HTTP: what each end of a request means, asked of a server on this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from email.header import decode_header, make_header
from urllib.parse import parse_qs

import pytest
import trustme
from msgspec import structs

from jobs import errors
from jobs.conf import tunables
from tests.receiver import receiver
from tests.workers.test_letter import a_claim
from workers.channels import esp_message, letter
from workers.channels.base import Refusal
from workers.channels.email import EmailChannel
from workers.esp_wire import Departure, NotDeparted
from workers.providers import parse

TOKEN = "t0p-s3cr3t-token"
TAKEN = {"ErrorCode": 0, "Message": "OK", "MessageID": "pm-1", "To": "ann@example.org"}
INACTIVE = (
    "Message OK, but will not deliver to these inactive addresses: bob@example.org. "
    "Inactive recipients are ones that have generated a hard bounce or a spam complaint."
)


def answer(status: int = 200, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()


def a_channel(url: str, *, connections: int = 5, http: float = 5.0, connect: float = 5.0) -> EmailChannel:
    """Postmark's, of which `url` is the API."""
    conf = replace(tunables(), connect_timeout_seconds=connect, http_timeout_seconds=http)
    mailer = f"anymail+postmark://?server_token={TOKEN}&api_url={url}&connections={connections}"
    return EmailChannel({"pm": parse("pm", mailer)}, conf)


async def trip(channel: EmailChannel, **fields):
    parcel = channel.prepare(a_claim(**fields))
    async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
        await line.offer(parcel)
        return await line.commit()


def send(url: str, **fields):
    """What one message comes to."""

    async def once():
        channel = a_channel(url)
        try:
            return await trip(channel, **fields)
        finally:
            await channel.close()

    return asyncio.run(once())


# ── What is sent ──────────────────────────────────────────────────────────────────────────────


def test_a_letter_reaches_the_service_with_all_its_parts():
    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN)]
        send(
            postmark.url,
            to=['"Müller, Jörg" <ann@example.org>'],
            cc=["cc@example.org"],
            bcc=["bcc@example.org"],
            reply_to=["help@example.org"],
            subject="Grüße",
            text="Hallo.",
            html="<p>Hallo.</p>",
            headers={"X-Campaign": "spring"},
            attachments=[
                {"filename": "ü.txt", "content_type": "text/plain", "content_base64": "/w=="},
                {"filename": "a.pdf", "content_type": "application/pdf", "content_base64": "JVBERg=="},
            ],
        )
        heard = postmark.heard[0]

    sent = json.loads(heard.body)
    headers = {header["Name"]: header["Value"] for header in sent["Headers"]}
    job = "01890a5d-ac96-774b-8cce-b302099a8057"
    assert (heard.path, heard.headers["x-postmark-server-token"]) == ("/email", TOKEN)
    assert sent["From"] == "Sendonce <no-reply@sendonce.example>"
    assert make_header(decode_header(sent["To"])) == '"Müller, Jörg" <ann@example.org>'
    assert (sent["Cc"], sent["Bcc"], sent["ReplyTo"]) == ("cc@example.org", "bcc@example.org", "help@example.org")
    assert (sent["Subject"], sent["TextBody"], sent["HtmlBody"]) == ("Grüße", "Hallo.", "<p>Hallo.</p>")
    assert headers == {
        "Message-ID": f"<{job}@sendonce.example>",
        "X-Job-ID": job,
        "X-Correlation-ID": "c-1",
        "X-Campaign": "spring",
    }
    assert (sent["Metadata"], sent["Tag"]) == ({"job_id": job}, "email")
    assert [(one["Name"], one["Content"]) for one in sent["Attachments"]] == [("ü.txt", "/w=="), ("a.pdf", "JVBERg==")]


def test_html_alone_stays_alone():
    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN)]
        send(postmark.url, text=None, html="<p>Hi</p>")

        sent = json.loads(postmark.heard[0].body)
    assert sent["HtmlBody"] == "<p>Hi</p>"
    assert "TextBody" not in sent


@pytest.mark.parametrize(
    ("fields", "suppressed", "asked"),
    [
        (
            {"to": ["ann@example.org", "Ann <ann@example.org>"], "bcc": ["ann@example.org"]},
            (),
            ("ann@example.org", "", ""),
        ),
        ({"to": ["ann@example.org"], "cc": ["bob@example.org"]}, ("ann@example.org",), ("bob@example.org", "", "")),
        ({"to": ["ann@example.org"], "bcc": ["eve@example.org"]}, ("ann@example.org",), ("eve@example.org", "", "")),
        ({"to": ["ann@example.org"], "bcc": ["eve@example.org", "bob@example.org"]}, ("ann@example.org",), None),
    ],
)
def test_each_is_asked_for_once_and_somebody_is_addressed(fields, suppressed, asked):
    letter_ = letter.write(structs.replace(a_claim(**fields), suppressed=suppressed))

    if asked is None:
        with pytest.raises(errors.Invalid, match="must not see each other"):
            esp_message.write(letter_, metadata=True, tags=True)
        return
    message = esp_message.write(letter_, metadata=True, tags=True)
    assert (", ".join(message.to), ", ".join(message.cc), ", ".join(message.bcc)) == asked


def test_who_is_suppressed_is_in_no_field():
    async def once(url):
        channel = a_channel(url)
        claim = structs.replace(
            a_claim(to=["ann@example.org", "bob@example.org"], bcc=["eve@example.org"]),
            suppressed=("bob@example.org", "eve@example.org"),
        )
        parcel = channel.prepare(claim)
        async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
            await line.offer(parcel)
            await line.commit()

    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN)]
        asyncio.run(once(postmark.url))

        sent = json.loads(postmark.heard[0].body)
    assert (sent["To"], "Bcc" in sent, "bob" in str(sent)) == ("ann@example.org", False, False)


def test_a_mail_that_offers_to_unsubscribe_offers_it_here_too(tunables):
    tunables(public_url="https://mail.example.org")
    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN)]
        send(postmark.url, unsubscribe={"topic": "news"})

        sent = json.loads(postmark.heard[0].body)
    headers = {header["Name"]: header["Value"] for header in sent["Headers"]}
    assert headers["List-Unsubscribe"].startswith("<https://mail.example.org/unsubscribe/")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_mailgun_is_another_form_of_the_same_letter():
    async def once(url):
        mailer = f"anymail+mailgun://?api_key={TOKEN}&sender_domain=mg.example.org&api_url={url}/v3"
        return await trip(EmailChannel({"mg": parse("mg", mailer)}, tunables()), subject="Grüße")

    with receiver() as mailgun:
        mailgun.answers = [answer(body={"id": "<mg-1@mg.example.org>", "message": "Queued. Thank you."})]
        receipt = asyncio.run(once(mailgun.url))
        heard = mailgun.heard[0]

    assert heard.path == "/v3/mg.example.org/messages"
    form = parse_qs(heard.body.decode())
    assert (form["subject"], form["o:tag"]) == (["Grüße"], ["email"])
    assert form["v:job_id"] == form["h:X-Job-Id"] == ["01890a5d-ac96-774b-8cce-b302099a8057"]
    assert form["h:Message-Id"] == [receipt.message_id]
    assert receipt.result["esp_message_id"] == "<mg-1@mg.example.org>"


# ── What an answer means ──────────────────────────────────────────────────────────────────────


def test_an_acceptance_becomes_a_receipt():
    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN)]
        receipt = send(postmark.url)

    assert (receipt.provider, receipt.code) == ("pm", 200)
    assert (receipt.accepted, receipt.refused) == (("ann@example.org",), ())
    assert receipt.result == {
        "message_id": "<01890a5d-ac96-774b-8cce-b302099a8057@sendonce.example>",
        "provider": "pm",
        "reply": {"code": 200, "detail": json.dumps(TAKEN)},
        "accepted": ["ann@example.org"],
        "refused": [],
        "esp_message_id": "pm-1",
    }


def test_recipients_that_the_service_does_not_take_are_named():
    with receiver() as postmark:
        postmark.answers = [answer(body=TAKEN | {"Message": INACTIVE})]
        receipt = send(postmark.url, to=["ann@example.org", "bob@example.org"])

    assert receipt.accepted == ("ann@example.org",)
    assert receipt.refused == (Refusal("bob@example.org", 200, "rejected"),)


ALL_REFUSED = {"ErrorCode": 406, "Message": INACTIVE.replace("bob", "ann").partition("but will ")[2]}


@pytest.mark.parametrize(
    ("given", "error", "kind", "waits"),
    [
        (answer(400, {"Message": "No."}), errors.Permanent, "esp_refused", None),
        (answer(413, {}), errors.Permanent, "esp_refused", None),
        (answer(422, {"ErrorCode": 300, "Message": "Invalid 'From' address"}), errors.Permanent, "esp_refused", None),
        (answer(422, ALL_REFUSED), errors.Permanent, "esp_refused", None),
        (answer(200, ALL_REFUSED), errors.Permanent, "esp_refused", None),
        (answer(401, {}), errors.Transient, "esp_setup", None),
        (answer(403, {}), errors.Transient, "esp_denied", None),
        (answer(404, {}), errors.Transient, "esp_denied", None),
        (answer(429, {}, retry_after="17"), errors.Transient, "esp_busy", 17.0),
        (answer(429, {}), errors.Transient, "esp_busy", None),
        (answer(503, {}, retry_after="60"), errors.Transient, "esp_busy", 60.0),
        (answer(503, {}), errors.Unanswered, "esp_5xx", None),
        (answer(500, {"ErrorCode": 1}), errors.Unanswered, "esp_5xx", None),
        (answer(502, {}), errors.Unanswered, "esp_5xx", None),
        (answer(504, {}), errors.Unanswered, "esp_5xx", None),
        (answer(200, {"strange": True}), errors.Unanswered, "esp_protocol", None),
        (answer(200, ["no", "object"]), errors.Unanswered, "esp_protocol", None),
        ((200, {}, b"<html>Welcome</html>"), errors.Unanswered, "esp_protocol", None),
        (answer(204), errors.Unanswered, "esp_protocol", None),
        (None, errors.Unanswered, "esp_closed", None),
        ((200, {"content-length": "500"}, b'{"ErrorCode": 0'), errors.Unanswered, "esp_closed", None),
    ],
)
def test_whatever_is_no_clear_yes_or_no_is_an_unknown(given, error, kind, waits):
    with receiver() as postmark:
        postmark.answers = [given]
        with pytest.raises(errors.DeliveryError) as caught:
            send(postmark.url)

        assert type(caught.value) is error
        assert (caught.value.kind, caught.value.retry_after) == (kind, waits)
        assert len(postmark.heard) == 1  # nothing is asked twice


def test_redirects_are_not_followed():
    with receiver() as elsewhere, receiver() as postmark:
        postmark.answers = [(307, {"location": elsewhere.url}, b"")]
        with pytest.raises(errors.Transient) as caught:
            send(postmark.url)

        assert (caught.value.kind, caught.value.code, elsewhere.heard) == ("esp_setup", 307, [])


def test_a_secret_that_the_service_repeats_is_not_told():
    with receiver() as postmark:
        postmark.answers = [answer(401, {"Message": f"Bad token {TOKEN}."})]
        with pytest.raises(errors.Transient) as caught:
            send(postmark.url)

    assert TOKEN not in str(caught.value)
    assert "Bad token …." in caught.value.detail


# ── No answer ─────────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_is_refused_has_sent_nothing():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.Transient) as caught:
            send(f"http://127.0.0.1:{unused.getsockname()[1]}")

    assert caught.value.kind == "connect"


def test_a_name_that_is_unknown_has_sent_nothing():
    with pytest.raises(errors.Transient) as caught:
        send("https://no.such.host.invalid")

    assert caught.value.kind == "dns"


def test_a_certificate_that_is_not_trusted_has_sent_nothing():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with receiver(tls=context) as postmark:
        with pytest.raises(errors.Transient) as caught:
            send(postmark.url)

        assert (caught.value.kind, postmark.heard) == ("tls", [])


@pytest.fixture
def tls(monkeypatch, tmp_path) -> ssl.SSLContext:
    """A server's, whose authority this process trusts."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "ca.pem"))
    return context


def test_a_service_is_reached_encrypted(tls):
    with receiver(tls=tls) as postmark:
        postmark.answers = [answer(body=TAKEN)]

        assert send(postmark.url).accepted == ("ann@example.org",)


def test_an_encrypted_connection_that_breaks_after_the_request_is_an_unknown(tls):
    with receiver(tls=tls) as postmark:
        postmark.answers = [None]
        with pytest.raises(errors.Unanswered) as caught:
            send(postmark.url)

        assert (caught.value.kind, len(postmark.heard)) == ("esp_closed", 1)


@contextmanager
def a_full_house():
    """A server whose queue of connections is full: nobody is refused, and nobody gets in."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        guests = [socket.socket() for _ in range(4)]
        for guest in guests:
            guest.setblocking(False)
            guest.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for guest in guests:
            guest.close()


def test_a_connection_that_does_not_come_about_in_time_has_sent_nothing():
    async def once(url):
        await trip(a_channel(url, connect=0.3))

    with a_full_house() as url, pytest.raises(errors.Transient) as caught:
        asyncio.run(once(url))

    assert caught.value.kind == "timeout"


def test_who_is_cancelled_before_the_first_byte_has_sent_nothing():
    async def once(url):
        before = set(threading.enumerate())
        under_way = asyncio.create_task(trip(a_channel(url)))
        while set(threading.enumerate()) == before:  # its request has none yet
            await asyncio.sleep(0.01)
        under_way.cancel()
        await under_way

    with a_full_house() as url, pytest.raises(errors.Interrupted):
        asyncio.run(once(url))


def test_silence_is_an_unknown():
    async def once(url):
        await trip(a_channel(url, http=0.3))

    with receiver() as postmark:
        postmark.holds = True
        with pytest.raises(errors.Unanswered) as caught:
            asyncio.run(once(postmark.url))

    assert caught.value.kind == "timeout"


def test_an_answer_that_trickles_does_not_outlast_the_limit():
    def drip(server: socket.socket, stopped: threading.Event) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not stopped.wait(0.05):
                connection.sendall(b" ")

    async def once(url):
        await trip(a_channel(url, http=0.4, connect=0.4))

    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server, stopped))
        thread.start()
        began = time.monotonic()
        with pytest.raises(errors.Unanswered) as caught:
            asyncio.run(once(f"http://127.0.0.1:{server.getsockname()[1]}"))
        took = time.monotonic() - began
        stopped.set()
        thread.join()

    assert caught.value.kind == "timeout"
    assert took < 5


def test_who_is_cancelled_while_waiting_cannot_know():
    async def once(postmark):
        under_way = asyncio.create_task(trip(a_channel(postmark.url)))
        while not postmark.heard:
            await asyncio.sleep(0.01)
        under_way.cancel()
        await under_way

    with receiver() as postmark:
        postmark.holds = True
        with pytest.raises(errors.Unanswered) as caught:
            asyncio.run(once(postmark))

    assert caught.value.kind == "cancelled"


def test_a_request_that_comes_too_late_never_leaves():
    late = Departure(until=time.monotonic() - 1)

    with pytest.raises(NotDeparted):
        late.begin()
    assert not late.has_begun


def test_a_request_that_was_forbidden_never_leaves_and_one_that_left_cannot_be_forbidden():
    stopped, gone = Departure(until=time.monotonic() + 60), Departure(until=time.monotonic() + 60)
    gone.begin()

    assert (stopped.forbid(), gone.forbid()) == (True, False)
    with pytest.raises(NotDeparted):
        stopped.begin()
    gone.begin()  # its other pieces


# ── Before the mark ───────────────────────────────────────────────────────────────────────────


def test_nothing_is_said_before_the_mark():
    async def once(url):
        channel = a_channel(url)
        parcel = channel.prepare(a_claim())
        async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
            await line.offer(parcel)  # … and the mark was refused
        await channel.close()

    with receiver() as postmark:
        asyncio.run(once(postmark.url))

        assert postmark.heard == []


def test_what_the_service_cannot_take_is_invalid_before_the_mark():
    async def once():
        mailer = f"anymail+brevo://?api_key={TOKEN}&api_url=http://127.0.0.1:9"
        channel = EmailChannel({"brevo": parse("brevo", mailer)}, tunables())
        parcel = channel.prepare(a_claim(reply_to=["a@example.org", "b@example.org"]))
        async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
            await line.offer(parcel)

    with pytest.raises(errors.Invalid, match="does not support multiple reply_to addresses") as caught:
        asyncio.run(once())

    assert caught.value.kind == "esp_unsupported"


def test_no_more_requests_than_connections_are_under_way():
    async def once(postmark):
        channel = a_channel(postmark.url, connections=2, connect=0.3)
        trips = [asyncio.create_task(trip(channel)) for _ in range(3)]
        ends = await asyncio.wait(trips, return_when=asyncio.FIRST_COMPLETED)
        heard = len(postmark.heard)
        postmark.hold.set()
        await asyncio.gather(*trips, return_exceptions=True)
        return heard, [task.exception() for task in ends[0]], trips

    with receiver() as postmark:
        postmark.holds = True
        postmark.answers = [answer(body=TAKEN)]
        heard, ended, trips = asyncio.run(once(postmark))

    assert heard == 2
    assert [(type(error), error.kind) for error in ended] == [(errors.Interrupted, "connections_busy")]
    assert sum(task.exception() is None for task in trips) == 2


def test_a_place_is_free_again_whatever_became_of_the_request():
    async def once(postmark):
        channel = a_channel(postmark.url, connections=1)
        ends = [await asyncio.gather(trip(channel), return_exceptions=True) for _ in range(3)]
        await channel.close()
        return [type(end) for (end,) in ends]

    with receiver() as postmark:
        postmark.answers = [answer(500, {}), answer(429, {}), answer(body=TAKEN)]
        first, second, third = asyncio.run(once(postmark))

    assert (first, second, third.__name__) == (errors.Unanswered, errors.Transient, "EspReceipt")


# ── Which provider ────────────────────────────────────────────────────────────────────────────


def test_a_type_has_a_provider_and_the_jobs_own_comes_first():
    async def once(urls):
        conf = replace(tunables(), type_providers={"welcome_email": "second"})
        mailers = {
            alias: parse(alias, f"anymail+postmark://?server_token={TOKEN}&api_url={url}")
            for alias, url in urls.items()
        }
        channel = EmailChannel(mailers, conf)
        welcome = {"type": "welcome_email", "email": "ann@example.org", "name": "Ann"}
        receipts = [
            await trip(channel),
            await trip(channel, **welcome),
            await trip(channel, **welcome, provider="first"),
        ]
        await channel.close()
        return [receipt.provider for receipt in receipts]

    with receiver() as first, receiver() as second:
        first.answers = second.answers = [answer(body=TAKEN)]
        went = asyncio.run(once({"first": first.url, "second": second.url}))

    assert went == ["first", "second", "first"]
