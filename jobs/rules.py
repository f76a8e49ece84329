"""What the fields of a payload must obey. Ground; pure.

Every rule yields (path, message) for each thing that is wrong, and every message names the remedy.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Any

from jobs import addresses
from jobs.addresses import CONTROL, SURROGATE
from jobs.conf import tunables

MAX_LINE_CHARACTERS = 998  # RFC 5322 §2.1.1, without CRLF
MAX_HEADERS = 50
MAX_HEADER_NAME_CHARACTERS = 76
MAX_ATTACHMENTS = 20
MAX_LEVELS = 50  # of a value that may be any JSON
MAX_FILENAME_CHARACTERS = 255
MAX_CONTENT_TYPE_CHARACTERS = 255

Problem = tuple[str, str]

_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 ftext
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf'(?P<main>{_TOKEN})/(?P<sub>{_TOKEN})(?: *; *{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*', re.ASCII
)
_FIELD_FOR_HEADER = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply-to": "reply_to",
    "subject": "subject",
}
_WRITTEN_BY_US = frozenset(
    {
        "date",
        "message-id",
        "mime-version",
        "received",
        "return-path",
        "sender",
        "dkim-signature",
        "x-job-id",
        "x-correlation-id",
    }
)
_FAMILIES_WRITTEN_BY_US = ("content-", "resent-")
# By these email services are steered, also over their SMTP: recipients beside those that were looked at, metadata by
# which what became of a mail is matched, another template.
_OF_SERVICES = (
    "x-smtpapi",
    "x-mailgun-",
    "x-pm-",
    "x-mc-",
    "x-msys-",
    "x-mj-",
    "x-mailin-",
    "x-sib-",
    "x-ses-",
    "x-mt-",
)


def shown(name: str) -> str:
    """A name from outside as it may stand in a path or a message: one line of ASCII, not too long."""
    return name if _FIELD_NAME.fullmatch(name) and len(name) <= 80 else ascii(name[:60])


def storable(path: str, value: Any) -> Iterator[Problem]:
    """Strings, at any depth, that PostgreSQL's jsonb and UTF-8 can hold."""
    if isinstance(value, str):
        if "\0" in value:
            yield path, "has a NUL character (U+0000), which cannot be stored. Remove it."
        if not value.isascii() and SURROGATE.search(value):
            yield path, "has half of a surrogate pair, which is no character. Send valid UTF-8."
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from storable(f"{path}.{shown(key)}", key)
            yield from storable(f"{path}.{shown(key)}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from storable(f"{path}[{index}]", inner)


def levels(path: str, value: Any) -> Iterator[Problem]:
    """Objects and lists in each other, no deeper than others can read."""
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        containers = (inner.values() if isinstance(inner, dict) else inner for inner in level if inner)
        level = [inner for container in containers for inner in container if isinstance(inner, dict | list)]
        if not level:
            return
    yield path, f"is nested more than {MAX_LEVELS} levels deep. Make it flatter."


def one_line(path: str, text: str, *, limit: int) -> Iterator[Problem]:
    """Text that becomes part of a header: something, on one line, of at most `limit` characters."""
    if not text.strip():
        yield path, "is empty. Give it some text."
    if len(text) > limit:
        yield path, f"has {len(text)} characters. Shorten it to {limit}."
    if CONTROL.search(text):
        yield path, "has a line break or another control character. Remove it."


def address(path: str, text: str) -> Iterator[Problem]:
    try:
        addresses.parse(text)
    except ValueError as error:
        yield path, str(error)


def bare_address(path: str, text: str) -> Iterator[Problem]:
    """One address without a display name."""
    problems = list(address(path, text))
    yield from problems
    if not problems and "<" in text:
        yield path, "has a display name. Give only the address, ann@example.org."


def address_field(path: str, texts: str | list[str] | None) -> Iterator[Problem]:
    """A field that may be absent, one address, or a list of addresses."""
    if isinstance(texts, str):
        yield from address(path, texts)
        return
    limit = tunables().max_recipients
    if len(texts or []) > limit:  # said before a million addresses are parsed
        yield path, f"has {len(texts or [])} addresses; {limit} are allowed. Leave some out."
        return
    for index, text in enumerate(texts or []):
        yield from address(f"{path}[{index}]", text)


def recipient_count(path: str, count: int) -> Iterator[Problem]:
    limit = tunables().max_recipients
    if count > limit:
        yield path, f"to, cc and bcc name {count} recipients; {limit} are allowed. Split the message into several jobs."


def sender(path: str, text: str) -> Iterator[Problem]:
    """An address that this installation may send from."""
    problems = list(address(path, text))
    yield from problems
    if not problems and not addresses.may_send(addresses.parse(text), tunables().allowed_senders):
        yield (
            path,
            "is not a sender of this installation. Leave it out to send from the default address, "
            "or ask the operator to add it to ALLOWED_SENDERS.",
        )


def headers(path: str, given: dict[str, str]) -> Iterator[Problem]:
    if len(given) > MAX_HEADERS:
        yield path, f"has {len(given)} headers; {MAX_HEADERS} are allowed. Leave some out."
        return
    for name, value in given.items():
        yield from _header(f"{path}.{shown(name)}", name, value)


def _header(path: str, name: str, value: str) -> Iterator[Problem]:
    if not _FIELD_NAME.fullmatch(name) or len(name) > MAX_HEADER_NAME_CHARACTERS:
        yield (
            path,
            f"is not a header name. Use 1 to {MAX_HEADER_NAME_CHARACTERS} printable ASCII characters "
            "without spaces and colons, such as X-Campaign.",
        )
    yield from _reserved(path, name.lower())
    if len(value) > MAX_LINE_CHARACTERS:
        yield path, f"has {len(value)} characters. Shorten it to {MAX_LINE_CHARACTERS}."
    if CONTROL.search(value):
        yield path, "has a line break or another control character. Remove it."


def _reserved(path: str, lower_name: str) -> Iterator[Problem]:
    if field := _FIELD_FOR_HEADER.get(lower_name):
        yield path, f"is written from the field `{field}` of the payload. Put it there."
    elif lower_name in _WRITTEN_BY_US or lower_name.startswith(_FAMILIES_WRITTEN_BY_US):
        yield path, "is written by the platform. Leave it out."
    elif lower_name.startswith(_OF_SERVICES):
        yield path, "is an email service's own: it could name recipients and facts that nobody looked at. Leave it out."


def attachment_count(path: str, count: int) -> Iterator[Problem]:
    if count > MAX_ATTACHMENTS:
        yield path, f"has {count} attachments; {MAX_ATTACHMENTS} are allowed. Leave some out."


def filename(path: str, name: str) -> Iterator[Problem]:
    yield from one_line(path, name, limit=MAX_FILENAME_CHARACTERS)
    if "/" in name or "\\" in name or name in {".", ".."}:
        yield path, "is a path. Give only the name of the file, such as report.pdf."


def content_type(path: str, text: str) -> Iterator[Problem]:
    """A media type that may travel in base64 (RFC 2046 forbids it for multipart/* and message/*)."""
    match = _CONTENT_TYPE.fullmatch(text) if len(text) <= MAX_CONTENT_TYPE_CHARACTERS else None
    if not match:
        yield path, "is not a media type. Write it as type/subtype, such as application/pdf."
    elif match["main"].lower() in {"multipart", "message"}:
        yield path, f"{match['main'].lower()}/* cannot be attached. Use application/octet-stream."


def content_base64(path: str, text: str) -> Iterator[Problem]:
    try:
        decoded(text)
    except ValueError:
        yield (
            path,
            "is not base64 (RFC 4648 §4: A–Z a–z 0–9 + / with = padding, no line breaks, no data: prefix). "
            "Encode the file with `base64 -w0`.",
        )


def attachment_bytes(path: str, contents: list[str]) -> Iterator[Problem]:
    """All attachments together, decoded."""
    limit = tunables().max_attachment_body_bytes
    total = sum(len(content) * 3 // 4 - content.count("=", -2) for content in contents)
    if total > limit:
        yield path, f"hold {total} bytes together; {limit} are allowed. Link to large files instead."


def decoded(text: str) -> bytes:
    """The bytes that `text` stands for. Raises ValueError when it is not strict base64."""
    return binascii.a2b_base64(text, strict_mode=True)
