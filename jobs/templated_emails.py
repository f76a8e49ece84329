"""An email that a stored template writes: what a client sends, and what it has become when it is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct

from jobs import emails, rules
from jobs.emails import Addressed, Attachments, EmailPayload, Headers
from jobs.rules import Problem

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
NAME_REMEDY = "is no name of a template. Use 1 to 100 of a-z, 0-9, `_`, `.` and `-`, and begin with a letter or digit."
LARGEST_VERSION = 2**31 - 1


class TemplatedEmailPayload(Addressed, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One email, written by a template of yours when the job is accepted; what becomes of the template later does not
    change it."""

    template: Annotated[
        str,
        Meta(
            description="The name of a template, see POST /templates.",
            examples=["order-shipped"],
            extra_json_schema={"pattern": f"^{NAME.pattern}$"},
        ),
    ]
    version: Annotated[
        int | None,
        Meta(description="Without it the newest.", extra_json_schema={"minimum": 1, "maximum": LARGEST_VERSION}),
    ] = None
    variables: Annotated[
        dict[str, Any], Meta(description="What the template needs, which GET /templates/{name} lists as `variables`.")
    ] = {}
    headers: Headers = {}
    attachments: Attachments = []


class UsedTemplate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which template wrote an email, for the record."""

    name: str
    version: int


class WrittenEmailPayload(EmailPayload, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The email that a template wrote. Its variables are in its words and nowhere else."""

    template: UsedTemplate


def templated_rules(payload: TemplatedEmailPayload, at: str) -> Iterator[Problem]:
    """What is wrong with the payload that stands at the path `at`, whatever its template may be."""
    yield from emails.address_rules(payload, at)
    if not NAME.fullmatch(payload.template):
        yield f"{at}.template", NAME_REMEDY
    if payload.version is not None and not 1 <= payload.version <= LARGEST_VERSION:
        yield f"{at}.version", "is no version. They are counted from 1; without one the newest is used."
    yield from rules.levels(f"{at}.variables", payload.variables)
    yield from emails.parcel_rules(payload.headers, payload.attachments, at)
    yield from emails.unsubscribe_rules(payload, payload.headers, at)
