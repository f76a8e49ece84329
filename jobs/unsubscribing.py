"""How whoever reads a mail ends such mail: the link in its headers, and the token in the link.

A token is signed, and says by itself who wants what no more: nothing is looked up, so it is good for as long as the
mail lies in somebody's folder, whatever retention takes here. It does not expire; what it can do is to end mail.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, NamedTuple
from uuid import UUID

from django.core import signing
from msgspec import Meta, Struct

from jobs.conf import tunables
from jobs.rules import Problem, shown

TOPIC = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
TOPIC_REMEDY = (
    "is no topic. Use 1 to 100 of a-z, 0-9, `_`, `.` and `-`, and begin with a letter or digit; empty is everything."
)
HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})
LONGEST_TOKEN = 2000  # characters; ours have some 400
_SALT = "sendonce.unsubscribe"


class Unsubscribe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A link in the mail's headers by which its reader gets no more of its kind, with one click (RFC 8058)."""

    topic: Annotated[
        str,
        Meta(
            description="What the mail is about: who unsubscribes gets no more mail of yours with this topic. Without "
            "one, no more mail of yours at all.",
            examples=["newsletter"],
            extra_json_schema={"pattern": f"^({TOPIC.pattern})?$"},
        ),
    ] = ""


class Reader(NamedTuple):
    """Who wants no more, of whom, and about what; and the mail in which the link stood."""

    owner_id: int
    address: str
    topic: str  # "": everything
    job_id: UUID


def is_topic(text: str) -> bool:
    """Whether mail can be about this; "" is everything."""
    return not text or TOPIC.fullmatch(text) is not None


def rules(wanted: Unsubscribe | None, at: str, *, recipients: int, headers: Collection[str]) -> Iterator[Problem]:
    """What is wrong with a payload at the path `at` that wants this, names so many recipients and has these headers."""
    if wanted is None:
        return
    path = f"{at}.unsubscribe"
    if not is_topic(wanted.topic):
        yield f"{path}.topic", TOPIC_REMEDY
    if recipients != 1:
        yield (
            path,
            f"is for one reader, and to, cc and bcc name {recipients} recipients. Send each a mail of their own.",
        )
    if not tunables().public_url:
        yield (
            path,
            "cannot be had: this installation does not know where readers of its mails reach it. Leave it out, or "
            "ask the operator to set PUBLIC_URL.",
        )
    for name in headers:
        if name.lower() in HEADERS:
            yield f"{at}.headers.{shown(name)}", "is written from the field `unsubscribe`. Leave one of them out."


def link(reader: Reader) -> str:
    """Where they unsubscribe. Raises LookupError without PUBLIC_URL."""
    public_url = tunables().public_url
    if not public_url:
        raise LookupError("PUBLIC_URL is not set.")
    return f"{public_url.rstrip('/')}/unsubscribe/{token(reader)}"


def token(reader: Reader) -> str:
    return _signer().sign_object([reader.owner_id, reader.address, reader.topic, str(reader.job_id)])


def read(token: str) -> Reader:
    """Raises ValueError for what we have not signed, with SECRET_KEY or one of SECRET_KEY_FALLBACKS."""
    if len(token) > LONGEST_TOKEN:
        raise ValueError("too long")
    try:
        owner_id, address, topic, job_id = _signer().unsign_object(token)
    except signing.BadSignature as error:
        raise ValueError(str(error)) from None
    return Reader(owner_id, address, topic, UUID(job_id))


def _signer() -> signing.Signer:
    return signing.Signer(salt=_SALT)
