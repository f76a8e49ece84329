"""What a job may say: one shape per type, shared by the API, the worker and the OpenAPI document.

The shapes say which fields there are; `rules` says what the fields must obey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from jobs import addresses, rules
from jobs.errors import Invalid, InvalidRequest
from jobs.misfits import misfits
from jobs.rules import Problem

MAX_WELCOME_NAME_CHARACTERS = 200


# ── Shapes ────────────────────────────────────────────────────────────────────────────────────


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


class EmailPayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One email. An address is bare or has a name: `Ann Smith <ann@example.org>`. Give `text`, `html` or both."""

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
    headers: Annotated[
        dict[str, str],
        Meta(
            description="Further headers, such as List-Unsubscribe. Those that the platform writes are refused.",
            extra_json_schema={"maxProperties": rules.MAX_HEADERS},
        ),
    ] = {}
    attachments: Annotated[
        list[Attachment],
        Meta(description="Files that travel along.", extra_json_schema={"maxItems": rules.MAX_ATTACHMENTS}),
    ] = []


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


SHAPES: dict[str, type[Struct]] = {"email": EmailPayload, "welcome_email": WelcomeEmailPayload}

# msgspec cannot look up a field whose name has half of a surrogate pair.
_UNREADABLE = (msgspec.ValidationError, UnicodeEncodeError)


# ── In and out ────────────────────────────────────────────────────────────────────────────────


def read(type: str, raw: object, *, at: str = "payload") -> Struct:
    """The payload in `raw`, a decoded JSON object, checked by every rule of its type.

    Raises InvalidRequest whose `fields` maps exact paths (`payload.cc[2]`) to messages; `at` is
    where `raw` stood in the request, "" for the request itself. All errors of one kind come
    together: those of the shape first, then those of the rules.
    """
    shape = _shape(type)
    try:
        payload = msgspec.convert(raw, shape)
    except _UNREADABLE as error:
        raise _refusal(misfits(shape, raw, at), at, str(error)) from None
    problems = list(rules.storable(at, as_stored(payload))) or list(_RULES[shape](payload, at))
    if problems:
        raise _refusal(problems, at, "")
    return payload


def as_stored(payload: Struct) -> dict[str, Any]:
    """What is kept in jsonb: names as on the wire, without defaults."""
    return msgspec.to_builtins(payload)


def from_stored(type: str, stored: dict[str, Any]) -> Struct:
    """The payload of a stored job. Raises Invalid when it does not fit its shape.

    Rules are not asked again: an accepted job is not refused because a limit was lowered since.
    """
    shape = SHAPES.get(type)
    if shape is None:
        raise Invalid(f"No payload shape is known for type {rules.shown(type)}.", kind="invalid")
    try:
        return msgspec.convert(stored, shape)
    except _UNREADABLE as error:
        raise Invalid(f"The stored payload cannot be read: {error}", kind="invalid") from None


def recipients(payload: Struct) -> list[str]:
    """The bare addresses of to, cc and bcc: each once, in that order, as on the envelope.

    Local parts are compared exactly (RFC 5321 §2.4), domains without regard to case.
    Raises ValueError when one is no address, which cannot be after `read`.
    """
    if isinstance(payload, WelcomeEmailPayload):
        return [addresses.parse(payload.email).spec]
    if isinstance(payload, EmailPayload):
        found = (address for field in _recipient_fields(payload) for address in addresses.parse_many(field))
        return list(dict.fromkeys(address.spec for address in found))
    return []


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas for OpenAPI's `components/schemas`, by component name."""
    _, components = msgspec.json.schema_components(SHAPES.values(), ref_template="#/components/schemas/{name}")
    return components


def _shape(type: str) -> type[Struct]:
    if isinstance(type, str) and type in SHAPES:
        return SHAPES[type]
    raise InvalidRequest.field("type", f"is not a known type. Use one of: {', '.join(sorted(SHAPES))}.")


def _recipient_fields(payload: EmailPayload) -> tuple[str | list[str] | None, ...]:
    return payload.to, payload.cc, payload.bcc


def _refusal(problems: list[Problem] | Iterator[Problem], at: str, fallback: str) -> InvalidRequest:
    fields: dict[str, list[str]] = {}
    for path, message in problems:
        messages = fields.setdefault(path.lstrip(".") or "payload", [])
        if message not in messages:
            messages.append(message)
    # The walk and msgspec agree on what fits; should they ever not, the refusal still says something.
    fields = fields or {at or "payload": [fallback]}
    first = next(iter(fields))
    return InvalidRequest(f"{first}: {fields[first][0]}", fields=fields)


# ── Rules per type ────────────────────────────────────────────────────────────────────────────


def _email_rules(payload: EmailPayload, at: str) -> Iterator[Problem]:
    yield from _recipient_rules(payload, at)
    yield from rules.address_field(f"{at}.reply_to", payload.reply_to)
    if payload.from_ is not None:
        yield from rules.sender(f"{at}.from", payload.from_)
    yield from rules.one_line(f"{at}.subject", payload.subject, limit=rules.MAX_LINE_CHARACTERS)
    if not payload.text and not payload.html:
        yield f"{at}.text", "is empty, and so is html. Give text, html or both."
    yield from rules.headers(f"{at}.headers", payload.headers)
    yield from _attachment_rules(f"{at}.attachments", payload.attachments)


def _recipient_rules(payload: EmailPayload, at: str) -> Iterator[Problem]:
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


def _welcome_rules(payload: WelcomeEmailPayload, at: str) -> Iterator[Problem]:
    yield from rules.bare_address(f"{at}.email", payload.email)
    yield from rules.one_line(f"{at}.name", payload.name, limit=MAX_WELCOME_NAME_CHARACTERS)


_RULES: dict[type[Struct], Callable[[Any, str], Iterator[Problem]]] = {
    EmailPayload: _email_rules,
    WelcomeEmailPayload: _welcome_rules,
}
