"""What a job may say, and how it is told that it may not."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import payloads, rules
from jobs.conf import tunables
from jobs.errors import Invalid, InvalidRequest

FILE = {"filename": "a.pdf", "content_type": "application/pdf", "content_base64": "SGVsbG8="}


def an_email(**fields):
    return {"to": "ann@example.org", "subject": "Hello", "text": "Hi"} | fields


EMAIL, WELCOME = payloads.type_of("email"), payloads.type_of("welcome_email")


def refusal_of(raw, *, type="email", **options):
    with pytest.raises(InvalidRequest) as caught:
        payloads.read(payloads.type_of(type), raw, **options)
    assert caught.value.fields
    return caught.value.fields


@pytest.fixture
def limits(monkeypatch):
    def change(**changes):
        changed = dataclasses.replace(tunables(), **changes)
        monkeypatch.setattr(rules, "tunables", lambda: changed)

    return change


# ── Read and stored ───────────────────────────────────────────────────────────────────────────


def test_a_full_email_is_read_and_stored_as_it_was_given(limits):
    limits(allowed_senders=("@example.org",))
    raw = an_email(
        to=["Ann Smith <ann@example.org>", "bob@example.org"],
        cc="cid@example.org",
        bcc=["dan@example.org"],
        reply_to="help@example.org",
        html="<p>Hi</p>",
        headers={"X-Campaign": "spring", "List-Unsubscribe": "<mailto:stop@example.org>"},
        attachments=[FILE],
    ) | {"from": "Post <post@example.org>"}

    payload = payloads.read(EMAIL, raw)

    assert payloads.as_stored(payload) == raw
    assert payloads.from_stored("email", json.loads(json.dumps(raw))) == payload


def test_defaults_are_not_stored():
    raw = an_email(cc=None, headers={}, attachments=[], html=None)

    assert payloads.as_stored(payloads.read(EMAIL, raw)) == an_email()


def test_recipients_are_bare_and_each_once():
    raw = an_email(
        to=["Ann <ann@example.org>", "bob@example.org"], cc="ann@EXAMPLE.ORG", bcc=["j@münchen.de", "Bob@example.org"]
    )

    assert EMAIL.recipients(payloads.read(EMAIL, raw)) == [
        "ann@example.org",
        "bob@example.org",
        "j@xn--mnchen-3ya.de",
        "Bob@example.org",
    ]


def test_a_welcome_goes_to_one_person():
    raw = {"email": "ann@example.org", "name": "Ann"}

    payload = payloads.read(WELCOME, raw)

    assert payloads.as_stored(payload) == raw
    assert WELCOME.recipients(payload) == ["ann@example.org"]


@pytest.mark.parametrize("stored", [{}, [], {"to": 1}, an_email(further="field"), an_email(headers={"A": 1})])
def test_a_stored_payload_that_does_not_fit_is_invalid_for_good(stored):
    with pytest.raises(Invalid):
        payloads.from_stored("email", stored)


def test_a_stored_payload_of_an_unknown_type_is_invalid_for_good():
    with pytest.raises(Invalid, match="fax"):
        payloads.from_stored("fax", {})


def test_an_accepted_payload_stays_readable_when_a_limit_is_lowered(limits):
    limits(max_recipients=1)

    payloads.from_stored("email", an_email(to=["ann@example.org", "bob@example.org"]))


# ── Shapes ────────────────────────────────────────────────────────────────────────────────────


KNOWN = "email, notification, templated_email, webhook, welcome_email"


@pytest.mark.parametrize("type", ["fax", "", "Email", None, ["email"], "\ud800"])
def test_an_unknown_type_is_told_the_known_ones(type):
    with pytest.raises(InvalidRequest) as caught:
        payloads.type_of(type)

    assert caught.value.fields == {"type": [f"is not a known type. Use one of: {KNOWN}."]}


@pytest.mark.parametrize("raw", [[], "x", 1, None, True, 1.5])
def test_a_payload_that_is_no_object_is_refused(raw):
    assert list(refusal_of(raw)) == ["payload"]


def test_everything_that_does_not_fit_is_said_at_once_by_its_exact_path():
    fields = refusal_of(
        {
            "to": ["ann@example.org", 1, None],
            "subject": None,
            "txt": "Hi",
            "headers": {"X-Foo": 1, "a b": []},
            "attachments": [{"filename": 1, "content_base64": ""}, "file", {"size": 1}],
        }
    )

    assert set(fields) == {
        "payload.to[1]",
        "payload.to[2]",
        "payload.subject",
        "payload.txt",
        "payload.headers.X-Foo",
        "payload.headers.'a b'",
        "payload.attachments[0].filename",
        "payload.attachments[1]",
        "payload.attachments[2].filename",
        "payload.attachments[2].content_base64",
        "payload.attachments[2].size",
    }
    assert fields["payload.txt"] == ["is not a field. Did you mean `text`?"]
    assert fields["payload.to[1]"] == ["is a whole number. Give a string."]


def test_what_is_missing_is_named():
    assert refusal_of({}) == {
        "payload.to": ["is required. Add it."],
        "payload.subject": ["is required. Add it."],
    }


def test_paths_begin_where_the_payload_stood():
    assert set(refusal_of({"email": "x"}, type="welcome_email", at="")) == {"name"}
    assert set(refusal_of({"email": "x", "name": ""}, type="welcome_email", at="")) == {"email", "name"}
    assert set(refusal_of(1, at="jobs[3].payload")) == {"jobs[3].payload"}


# ── Rules ─────────────────────────────────────────────────────────────────────────────────────


def test_everything_that_breaks_a_rule_is_said_at_once():
    fields = refusal_of(
        {
            "to": "",
            "cc": ["ann@example.org", "bob"],
            "from": "eve@example.org",
            "reply_to": "x",
            "subject": "",
            "headers": {"From": "eve@example.org"},
            "attachments": [FILE | {"filename": "../a", "content_type": "pdf", "content_base64": "%"}],
        }
    )

    assert set(fields) == {
        "payload.to",
        "payload.cc[1]",
        "payload.from",
        "payload.reply_to",
        "payload.subject",
        "payload.text",
        "payload.headers.From",
        "payload.attachments[0].filename",
        "payload.attachments[0].content_type",
        "payload.attachments[0].content_base64",
    }


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"to": []}, "payload.to"),
        ({"to": [""]}, "payload.to[0]"),
        ({"to": "ann@example.org\r\nBcc: eve@example.org"}, "payload.to"),
        ({"bcc": "ann@example.org, bob@example.org"}, "payload.bcc"),
        ({"subject": "  "}, "payload.subject"),
        ({"subject": "a\nb"}, "payload.subject"),
        ({"subject": "a\u2028b"}, "payload.subject"),
        ({"subject": "s" * 999}, "payload.subject"),
        ({"subject": "\ud800"}, "payload.subject"),
        ({"text": ""}, "payload.text"),
        ({"text": "a\0b"}, "payload.text"),
        ({"html": "\udfff"}, "payload.html"),
        ({"headers": {"X-Foo": "a\r\nBcc: eve@example.org"}}, "payload.headers.X-Foo"),
        ({"headers": {"X-Foo": "a\0"}}, "payload.headers.X-Foo"),
        ({"headers": {"X-Foo": "v" * 999}}, "payload.headers.X-Foo"),
        ({"headers": {"X Foo": "a"}}, "payload.headers.'X Foo'"),
        ({"headers": {"X-Foo:": "a"}}, "payload.headers.'X-Foo:'"),
        ({"headers": {"": "a"}}, "payload.headers.''"),
        ({"headers": {"X\r\nBcc": "a"}}, r"payload.headers.'X\r\nBcc'"),
        ({"headers": {"Xé": "a"}}, r"payload.headers.'X\xe9'"),
        ({"headers": {f"X-{number}": "a" for number in range(51)}}, "payload.headers"),
        ({"attachments": [FILE] * 21}, "payload.attachments"),
        ({"attachments": [FILE | {"filename": ""}]}, "payload.attachments[0].filename"),
        ({"attachments": [FILE | {"filename": ".."}]}, "payload.attachments[0].filename"),
        ({"attachments": [FILE | {"filename": "a\\b"}]}, "payload.attachments[0].filename"),
        ({"attachments": [FILE | {"filename": 'a"\r\nX: y'}]}, "payload.attachments[0].filename"),
        ({"attachments": [FILE | {"filename": "f" * 256}]}, "payload.attachments[0].filename"),
        ({"attachments": [FILE | {"content_type": "multipart/mixed"}]}, "payload.attachments[0].content_type"),
        ({"attachments": [FILE | {"content_type": "message/rfc822"}]}, "payload.attachments[0].content_type"),
        ({"attachments": [FILE | {"content_type": "a/b\r\nX: y"}]}, "payload.attachments[0].content_type"),
        ({"attachments": [FILE | {"content_type": "a/b" + "; " * 200_000}]}, "payload.attachments[0].content_type"),
        ({"attachments": [FILE, FILE | {"content_base64": "SGVsbG8"}]}, "payload.attachments[1].content_base64"),
        ({"attachments": [FILE | {"content_base64": "SGVs\nbG8="}]}, "payload.attachments[0].content_base64"),
        ({"attachments": [FILE | {"content_base64": "SGVsbG8=SGVsbG8="}]}, "payload.attachments[0].content_base64"),
        ({"attachments": [FILE | {"content_base64": "SGVsbG_-"}]}, "payload.attachments[0].content_base64"),
        ({"attachments": [FILE | {"content_base64": "é"}]}, "payload.attachments[0].content_base64"),
    ],
)
def test_a_broken_rule_is_named_by_its_path(change, path):
    assert list(refusal_of(an_email(**change))) == [path]


RESERVED = ["From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Received"]
RESERVED += ["Content-Type", "Content-Transfer-Encoding", "Return-Path", "Sender", "DKIM-Signature", "X-Job-ID"]
RESERVED += ["X-Correlation-ID", "Resent-To", "Resent-Message-ID"]
RESERVED += ["X-SMTPAPI", "X-Mailgun-Variables", "X-PM-Metadata-job_id", "X-MC-Tags", "X-MJ-CustomID"]


@pytest.mark.parametrize("name", [*RESERVED, *(name.lower() for name in RESERVED)])
def test_headers_that_the_platform_writes_are_refused(name):
    (message,) = refusal_of(an_email(headers={name: "x"}))[f"payload.headers.{name}"]

    assert message.endswith(("Put it there.", "Leave it out."))


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "s" * 998},
        {"text": None, "html": "<p>Hi</p>"},
        {"headers": {"X-Empty": "", "x-emptY": "é"}},
        {"attachments": [FILE | {"content_base64": ""}]},
        {"attachments": [FILE | {"content_type": "text/calendar; method=REQUEST; charset=utf-8"}]},
        {"attachments": [FILE | {"content_type": 'text/x; a="b c"', "filename": "Übersicht – Mai.pdf"}]},
        {"attachments": [FILE] * 20},
        {"from": "no-reply@SENDONCE.example"},
        {"from": "Sales team <no-reply@sendonce.example>"},
    ],
)
def test_what_is_just_within_the_rules_is_read(change):
    payloads.read(EMAIL, an_email(**change))


def test_recipients_are_counted_over_all_fields(limits):
    limits(max_recipients=3)
    three = an_email(to=["a@example.org", "b@example.org"], cc="c@example.org")

    payloads.read(EMAIL, three)
    (message,) = refusal_of(three | {"bcc": ["d@example.org"]})["payload.to"]

    assert "4 recipients; 3 are allowed" in message


def test_a_flood_of_addresses_is_counted_and_not_parsed(monkeypatch):
    monkeypatch.setattr("jobs.addresses.parse", lambda text: pytest.fail("parsed"))

    fields = refusal_of(an_email(to=["x"] * 100_000, reply_to=["x"] * 100_000))

    assert set(fields) == {"payload.to", "payload.reply_to"}


def test_attachments_are_weighed_together_as_they_decode(limits):
    content = base64.b64encode(b"x" * 50).decode()
    two = an_email(attachments=[FILE | {"content_base64": content}] * 2)

    limits(max_attachment_body_bytes=100)
    payloads.read(EMAIL, two)
    limits(max_attachment_body_bytes=99)

    assert "hold 100 bytes together; 99 are allowed" in refusal_of(two)["payload.attachments"][0]


def test_a_foreign_sender_is_told_what_to_do():
    (message,) = refusal_of(an_email(**{"from": "ceo@bank.example"}))["payload.from"]

    assert "ALLOWED_SENDERS" in message


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"email": "Ann <ann@example.org>"}, "payload.email"),
        ({"email": "ann"}, "payload.email"),
        ({"email": ["ann@example.org"]}, "payload.email"),
        ({"name": " "}, "payload.name"),
        ({"name": "n" * 201}, "payload.name"),
        ({"name": "Ann\r\nBcc: eve@example.org"}, "payload.name"),
        ({"name": "A\0"}, "payload.name"),
        ({"subject": "x"}, "payload.subject"),
    ],
)
def test_a_welcome_needs_one_address_and_a_name_on_one_line(change, path):
    raw = {"email": "ann@example.org", "name": "Ann"} | change

    assert list(refusal_of(raw, type="welcome_email")) == [path]


# ── For any input ─────────────────────────────────────────────────────────────────────────────

TEXTS = st.text(st.characters(codec=None), max_size=20)
SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just("ann@example.org"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("filename"), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["to", "cc", "from", "subject", "text", "html", "headers", "attachments", "email", "name"])


@given(st.sampled_from([EMAIL, WELCOME]), SCRAPS | st.dictionaries(NAMES | TEXTS, SCRAPS))
def test_any_json_is_read_or_refused_by_fields_that_can_be_printed(type, raw):
    try:
        payload = payloads.read(type, raw)
    except InvalidRequest as error:
        refusal = error
    else:
        json.dumps(payloads.as_stored(payload), ensure_ascii=False).encode()
        assert type.recipients(payload)
        return

    assert refusal.fields
    assert "\n" not in str(refusal)
    json.dumps(refusal.fields, ensure_ascii=False).encode()


# ── Schema ────────────────────────────────────────────────────────────────────────────────────


def test_the_schemas_describe_every_field_by_its_name_on_the_wire():
    schemas = payloads.schemas()

    assert schemas.pop("Level")["enum"] == ["failure", "info", "success", "warning"]
    assert set(schemas) == {
        *("EmailPayload", "TemplatedEmailPayload", "WelcomeEmailPayload", "Attachment", "Unsubscribe"),
        *("WebhookPayload", "NotificationPayload"),
    }
    assert set(schemas["WelcomeEmailPayload"]["properties"]) == {"email", "name"}
    assert list(schemas["EmailPayload"]["properties"]) == (
        ["to", "cc", "bcc", "reply_to", "from", "unsubscribe", "subject", "text", "html", "headers", "attachments"]
    )
    for schema in schemas.values():
        assert schema["additionalProperties"] is False
        assert all(field.get("description") for field in schema["properties"].values())
