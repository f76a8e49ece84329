"""What an email may say: the shapes of `email` and `welcome_email`, and the rules that their fields obey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobs import addresses, rules, unsubscribing
from jobs.rules import Problem
from jobs.unsubscribing import Unsubscribe

MAX_WELCOME_NAME_CHARACTERS = 200


class Attachment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file that travels with an email."""

    filename: Annotated[
        str,
        Meta(
            description="The name the recipient sees, without a path.",
            examples=["report.pdf"],
            extra_json_schema={"minLength": 1, "maxLength": rules.MAX_FILENAME_CHARACTERS},
        ),
    ]
    content_type: Annotated[
        str,
        Meta(
            description="Media type, type/subtype. multipart/* and message/* are refused.", examples=["application/pdf"]
        ),
    ] = "application/octet-stream"
    content_base64: Annotated[
        str,
        Meta(
            description="The file in base64 (RFC 4648 §4), without line breaks.",
            examples=["SGVsbG8="],
            extra_json_schema={"contentEncoding": "base64"},
        ),
    ]


Headers = Annotated[
    dict[str, str],
    Meta(
        description="Further headers, such as X-Campaign. Those that the platform writes are refused.",
        extra_json_schema={"maxProperties": rules.MAX_HEADERS},
    ),
]
Attachments = Annotated[
    list[Attachment],
    Meta(description="Files that travel along.", extra_json_schema={"maxItems": rules.MAX_ATTACHMENTS}),
]


class Addressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """To whom an email goes, from whom, and how that ends. An address is bare or has a name: `Ann <a@example.org>`."""

    to: Annotated[
        str | list[str],
        Meta(description="Recipients: one address or a list.", examples=["ann@example.org"]),
    ]
    cc: Annotated[str | list[str] | None, Meta(description="Recipients of a copy.")] = None
    bcc: Annotated[str | list[str] | None, Meta(description="Recipients that the others do not see.")] = None
    reply_to: Annotated[str | list[str] | None, Meta(description="Where answers go.")] = None
    from_: Annotated[
        str | None,
        Meta(description="Sender; must be allowed by the installation. Without it the default sender is used."),
    ] = msgspec.field(name="from", default=None)
    unsubscribe: Annotated[
        Unsubscribe | None,
        Meta(description="How its reader ends such mail: List-Unsubscribe, with one click. For one recipient."),
    ] = None


class EmailPayload(Addressed, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One email. An address is bare or has a name: `Ann Smith <ann@example.org>`. Give `text`, `html` or both."""

    subject: Annotated[
        str,
        Meta(
            description="One line.",
            examples=["Your invoice"],
            extra_json_schema={"minLength": 1, "maxLength": rules.MAX_LINE_CHARACTERS},
        ),
    ]
    text: Annotated[str | None, Meta(description="The message as plain text.")] = None
    html: Annotated[str | None, Meta(description="The message as HTML.")] = None
    headers: Headers = {}
    attachments: Attachments = []


class WelcomeEmailPayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A welcome to one person, written from the platform's template."""

    email: Annotated[str, Meta(description="One address, without a name.", examples=["ann@example.org"])]
    name: Annotated[
        str,
        Meta(
            description="How the person is greeted.",
            examples=["Ann"],
            extra_json_schema={"minLength": 1, "maxLength": MAX_WELCOME_NAME_CHARACTERS},
        ),
    ]


# ── Who gets it ───────────────────────────────────────────────────────────────────────────────


def recipients(payload: Addressed) -> list[str]:
    """The bare addresses of to, cc and bcc: each once, in that order, as on the envelope.

    Local parts are compared exactly (RFC 5321 §2.4), domains without regard to case.
    Raises ValueError when one is no address, which cannot be after its rules were asked.
    """
    found = (address for field in _recipient_fields(payload) for address in addresses.parse_many(field))
    return list(dict.fromkeys(address.spec for address in found))


def welcomed(payload: WelcomeEmailPayload) -> list[str]:
    """The one address, likewise."""
    return [addresses.parse(payload.email).spec]


def _recipient_fields(payload: Addressed) -> tuple[str | list[str] | None, ...]:
    return payload.to, payload.cc, payload.bcc


# ── Rules ─────────────────────────────────────────────────────────────────────────────────────


def email_rules(payload: EmailPayload, at: str) -> Iterator[Problem]:
    """What is wrong with the payload that stands at the path `at`."""
    yield from address_rules(payload, at)
    yield from content_rules(payload, at)
    yield from parcel_rules(payload.headers, payload.attachments, at)
    yield from unsubscribe_rules(payload, payload.headers, at)


def address_rules(payload: Addressed, at: str) -> Iterator[Problem]:
    """To whom, and from whom."""
    yield from _recipient_rules(payload, at)
    yield from rules.address_field(f"{at}.reply_to", payload.reply_to)
    if payload.from_ is not None:
        yield from rules.sender(f"{at}.from", payload.from_)


def content_rules(payload: EmailPayload, at: str) -> Iterator[Problem]:
    """What it says."""
    yield from rules.one_line(f"{at}.subject", payload.subject, limit=rules.MAX_LINE_CHARACTERS)
    if not payload.text and not payload.html:
        yield f"{at}.text", "is empty, and so is html. Give text, html or both."


def parcel_rules(headers: dict[str, str], attachments: list[Attachment], at: str) -> Iterator[Problem]:
    """What travels along."""
    yield from rules.headers(f"{at}.headers", headers)
    yield from _attachment_rules(f"{at}.attachments", attachments)


def unsubscribe_rules(payload: Addressed, headers: dict[str, str], at: str) -> Iterator[Problem]:
    """How its reader ends such mail."""
    count = sum(len(addresses.as_list(field)) for field in _recipient_fields(payload))
    yield from unsubscribing.rules(payload.unsubscribe, at, recipients=count, headers=headers)


def _recipient_rules(payload: Addressed, at: str) -> Iterator[Problem]:
    if payload.to == []:
        yield f"{at}.to", "is empty. Name at least one recipient."
    fields = _recipient_fields(payload)
    yield from rules.recipient_count(f"{at}.to", sum(len(addresses.as_list(field)) for field in fields))
    for name, field in zip(("to", "cc", "bcc"), fields, strict=True):
        yield from rules.address_field(f"{at}.{name}", field)


def _attachment_rules(path: str, attachments: list[Attachment]) -> Iterator[Problem]:
    yield from rules.attachment_count(path, len(attachments))
    yield from rules.attachment_bytes(path, [attachment.content_base64 for attachment in attachments])
    for index, attachment in enumerate(attachments[: rules.MAX_ATTACHMENTS]):
        yield from rules.filename(f"{path}[{index}].filename", attachment.filename)
        yield from rules.content_type(f"{path}[{index}].content_type", attachment.content_type)
        yield from rules.content_base64(f"{path}[{index}].content_base64", attachment.content_base64)


def welcome_rules(payload: WelcomeEmailPayload, at: str) -> Iterator[Problem]:
    """Likewise."""
    yield from rules.bare_address(f"{at}.email", payload.email)
    yield from rules.one_line(f"{at}.name", payload.name, limit=MAX_WELCOME_NAME_CHARACTERS)
