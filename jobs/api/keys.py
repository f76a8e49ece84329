"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): quoted or bare, at most 255 characters."""

from __future__ import annotations

import re

from jobs.errors import InvalidRequest
from jobs.requests import MAX_KEY, is_key

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # RFC 8941 §3.3.3


def read_key(header: str | None) -> str | None:
    """The key, or None without the header. Raises InvalidRequest."""
    if header is None:
        return None
    key = _unquoted(header.strip())
    if key is None or not key.isascii() or not is_key(key):
        raise InvalidRequest.field(
            "Idempotency-Key", f'1 to {MAX_KEY} printable ASCII characters, bare or in double quotes: "8e03978e".'
        )
    return key


def _unquoted(text: str) -> str | None:
    if not text.startswith('"'):
        return text
    quoted = _QUOTED.fullmatch(text)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else None
