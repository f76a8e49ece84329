"""Webhooks: what a job of this type holds, and what a receiver's address must be."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, Struct

from jobs.conf import tunables
from jobs.errors import InvalidRequest
from jobs.rules import Problem

LONGEST_URL = 2000
SECRET_BYTES = 24, 64  # as Standard Webhooks asks
PREFIX = "whsec_"
_EVENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class WebhookPayload(Struct, frozen=True, forbid_unknown_fields=True):
    """An event, for one of your destinations. It is sent as Standard Webhooks describes: `{"type", "timestamp",
    "data"}`, signed, with the job's id as `webhook-id` on each attempt."""

    destination: Annotated[str, Meta(description="The name of a webhook of yours, from /destinations.")]
    event: Annotated[str, Meta(description="What happened.", examples=["order.paid"])]
    data: Annotated[dict[str, Any], Meta(description="About it, as the receiver expects it.")]


def rules(payload: WebhookPayload, at: str) -> Iterator[Problem]:
    if not _EVENT.fullmatch(payload.event):
        yield f"{at}.event", "1 to 128 letters, digits, `_`, `.`, `:` and `-`. Example: order.paid."


def check_url(url: str) -> str:
    """The receiver's host, as people are shown it. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        is_one = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest.field("url", "Not the address of a receiver. Example: https://hooks.example.org/orders.")
    if parts.scheme not in _schemes():
        raise InvalidRequest.field("url", "Begin it with https://; what is sent in the clear can be read and changed.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidRequest.field("url", "Without user, password and #; the signature says who sent it.")
    return _origin(parts)


def _schemes() -> tuple[str, ...]:
    """In the clear only within networks of one's own, which the worker looks at when it connects."""
    return ("https", "http") if tunables().reachable_networks else ("https",)


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(secret: str) -> None:
    """Raises InvalidRequest when it is none that Standard Webhooks knows."""
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) if secret.startswith(PREFIX) else 0
    except (binascii.Error, ValueError):
        size = 0
    least, most = SECRET_BYTES
    if not least <= size <= most:
        raise InvalidRequest.field(
            "secret", f"{PREFIX} and {least} to {most} random bytes in base64; or leave it out, and one is made."
        )
