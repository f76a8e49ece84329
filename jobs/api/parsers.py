"""Reads request bodies: always JSON, whatever the Content-Type says, so that plain `curl -d` works.

The body is read here and not through `request.data`: REST framework takes a chunked body for none and
never asks a parser about an empty one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from jobs.conf import tunables
from jobs.errors import InvalidRequest, TooLarge
from jobs.misfits import misfits

REMEDY = "Send one JSON object in UTF-8."
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

S = TypeVar("S", bound=msgspec.Struct)


def read_json(request: HttpRequest) -> Any:
    """The body as JSON. Raises InvalidRequest naming `body`, or TooLarge above MAX_BODY_BYTES."""
    return decode(read_bytes(request, limit=tunables().max_body_bytes))


def read_job(request: HttpRequest) -> Any:
    """Likewise for a job, which may reach MAX_ATTACHMENT_BODY_BYTES if it carries attachments."""
    conf = tunables()
    raw = read_bytes(request, limit=conf.max_attachment_body_bytes)
    body = decode(raw)
    if len(raw) > conf.max_body_bytes and not _has_attachments(body):
        raise TooLarge(
            f"The body has {len(raw)} bytes; at most {conf.max_body_bytes}, "
            f"or {conf.max_attachment_body_bytes} for an email with attachments."
        )
    return body


def read_batch(request: HttpRequest) -> Any:
    """Many jobs in one body of at most MAX_ATTACHMENT_BODY_BYTES."""
    return decode(read_bytes(request, limit=tunables().max_attachment_body_bytes))


def read_shape(request: HttpRequest, shape: type[S], *, empty: S | None = None) -> S:
    """The body as this shape; an empty one is `empty`, if given. Raises InvalidRequest naming all that does not fit."""
    raw = read_bytes(request, limit=tunables().max_body_bytes)
    if empty is not None and not raw.strip():
        return empty
    body = decode(raw)
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise _misfit(shape, body, error) from None


def read_bytes(request: HttpRequest, *, limit: int) -> bytes:
    """The raw body. Above `limit` bytes: TooLarge, by the Content-Length before anything is read."""
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise InvalidRequest.field("body", "Content-Encoding is not understood. Send the body as it is.")
    length = request.META.get("CONTENT_LENGTH", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLarge(f"The body has {length} bytes; at most {limit}.")
    raw: bytes = _source(request).read(limit + 1)
    if len(raw) > limit:
        raise TooLarge(f"The body has more than {limit} bytes.")
    return raw


def decode(raw: bytes) -> Any:
    """JSON (RFC 8259) in UTF-8; of a name that comes twice the last counts. Raises InvalidRequest."""
    if not raw.strip():
        raise InvalidRequest.field("body", f"The body is empty. {REMEDY}")
    try:
        return msgspec.json.decode(raw.removeprefix(BYTE_ORDER_MARK))
    except UnicodeDecodeError:
        raise InvalidRequest.field("body", f"Not UTF-8{_where_not_utf8(raw)}. {REMEDY}") from None
    except RecursionError:
        raise InvalidRequest.field("body", f"Nested too deeply. {REMEDY}") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest.field("body", f"{str(error).rstrip('.')}. {REMEDY}") from None


def _where_not_utf8(raw: bytes) -> str:
    """msgspec counts from the start of the string, people from the start of the body."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f" at byte {error.start}"
    return ""


class JsonParser(BaseParser):
    """The same for `request.data`, in views that are not ours."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return decode(stream.read(tunables().max_body_bytes))


def _source(request: HttpRequest) -> Any:
    """Where the body comes from. Django reads nothing without a Content-Length; a chunked body has none,
    and then the server says that its stream ends by itself."""
    if "CONTENT_LENGTH" not in request.META and request.META.get("wsgi.input_terminated"):
        return request.META["wsgi.input"]
    return request


def _has_attachments(body: Any) -> bool:
    payload = body.get("payload") if isinstance(body, dict) else None
    return isinstance(payload, dict) and bool(payload.get("attachments"))


def _misfit(shape: type[msgspec.Struct], body: Any, error: msgspec.ValidationError) -> InvalidRequest:
    fields: dict[str, list[str]] = {}
    for path, message in misfits(shape, body, ""):
        fields.setdefault(path.lstrip(".") or "body", []).append(message)
    if not fields:  # it fits, but breaks a bound
        text, _, path = str(error).partition(" - at `$.")
        fields = {path.rstrip("`") or "body": [f"{text}."]}
    first = next(iter(fields))
    return InvalidRequest(f"{first}: {fields[first][0]}", fields=fields)
