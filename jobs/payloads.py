"""Payloads on their way in and out: each fits the shape of its type (`jobs/types.py`) and obeys its rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from jobs import rules, types
from jobs.errors import Invalid, InvalidRequest
from jobs.misfits import misfits
from jobs.rules import Problem
from jobs.types import JobType

# msgspec cannot look up a field whose name has half of a surrogate pair.
_UNREADABLE = (msgspec.ValidationError, UnicodeEncodeError)


def type_of(name: object) -> JobType:
    """The type of this name. Raises InvalidRequest, which names those that there are."""
    known = types.find(name)
    if known is None:
        raise InvalidRequest.field("type", f"is not a known type. Use one of: {', '.join(types.names())}.")
    return known


def read(type: JobType, raw: object, *, at: str = "payload") -> Struct:
    """The payload in `raw`, a decoded JSON object, checked by every rule of its type.

    Raises InvalidRequest whose `fields` maps exact paths (`payload.cc[2]`) to messages; `at` is
    where `raw` stood in the request, "" for the request itself. All errors of one kind come
    together: those of the shape first, then those of the rules.
    """
    if type.from_text and isinstance(raw, str):
        raw = {type.from_text: raw}
    try:
        payload = msgspec.convert(raw, type.payload)
    except _UNREADABLE as error:
        raise _refusal(list(misfits(type.payload, raw, at)) or [_in_its_words(error, at)], at) from None
    try:
        problems = list(rules.storable(at, as_stored(payload))) or list(type.rules(payload, at))
    except RecursionError:
        problems = [(at, "is nested too deeply. Make it flatter.")]
    if problems:
        raise _refusal(problems, at)
    return payload


def as_stored(payload: Struct) -> dict[str, Any]:
    """What is kept in jsonb: names as on the wire, without defaults."""
    return msgspec.to_builtins(payload)


def from_stored(type: str, stored: dict[str, Any]) -> Struct:
    """The payload of a stored job. Raises Invalid when it does not fit its shape.

    Rules are not asked again: an accepted job is not refused because a limit was lowered since.
    """
    known = types.find(type)
    if known is None:
        raise Invalid(f"No payload shape is known for type {rules.shown(type)}.", kind="invalid")
    try:
        return msgspec.convert(stored, known.kept)
    except _UNREADABLE as error:
        raise Invalid(f"The stored payload cannot be read: {error}", kind="invalid") from None


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas for OpenAPI's `components/schemas`, by component name."""
    shapes = [type.payload for type in types.every()]
    _, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    return components


def _in_its_words(error: Exception, at: str) -> Problem:
    """What msgspec says of kinds and bounds that the walk does not know: the first misfit, and its path."""
    text, _, path = str(error).partition(" - at `$")
    return f"{at}{path.rstrip('`')}", f"{text}."


def _refusal(problems: Iterable[Problem], at: str) -> InvalidRequest:
    fields: dict[str, list[str]] = {}
    for path, message in problems:
        messages = fields.setdefault(path.lstrip(".") or at or "payload", [])
        if message not in messages:
            messages.append(message)
    first = next(iter(fields))
    return InvalidRequest(f"{first}: {fields[first][0]}", fields=fields)
