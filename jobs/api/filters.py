"""What may stand behind the `?` of a list. A bad value or an unknown name is named, with what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from jobs import addresses, payloads
from jobs.errors import InvalidRequest
from jobs.states import Reason, Status

CLOCK_SKEW = timedelta(minutes=5)  # ids carry the API's clock, created_at PostgreSQL's

PAGING = ("limit", "cursor")  # paging.py reads these

Lookup = Callable[[str], dict[str, Any]]  # raises ValueError with what is allowed


def job_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `status`, `type`, `recipient` and `since`. Raises InvalidRequest."""
    return _read(params, {"status": _status, "type": _type, "recipient": _recipient, "since": _since})


def dead_letter_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `reason` and `resolved`. Raises InvalidRequest."""
    return _read(params, {"reason": _reason, "resolved": _resolved})


def _read(params: Mapping[str, str], known: dict[str, Lookup]) -> dict[str, Any]:
    lookups: dict[str, Any] = {}
    allowed = [*known, *PAGING]
    errors = {name: [f"Not a parameter of this list. Use one of: {', '.join(allowed)}."] for name in params}
    errors = {name: messages for name, messages in errors.items() if name not in allowed}
    for name, lookup in known.items():
        if name in params:
            try:
                lookups |= lookup(params[name])
            except ValueError as error:
                errors[name] = [str(error)]
    if errors:
        raise InvalidRequest("; ".join(f"{n}: {m[0]}" for n, m in errors.items()), fields=errors)
    return lookups


def _one_of(words: type[StrEnum] | list[str], text: str) -> str:
    known = [str(word) for word in words]
    if text not in known:
        raise ValueError(f"One of {', '.join(known)}.")
    return text


def _status(text: str) -> dict[str, Any]:
    return {"status": _one_of(Status, text)}


def _type(text: str) -> dict[str, Any]:
    return {"type": _one_of(sorted(payloads.SHAPES), text)}


def _reason(text: str) -> dict[str, Any]:
    return {"reason": _one_of(Reason, text)}


def _resolved(text: str) -> dict[str, Any]:
    return {"resolution__isnull": _one_of(["true", "false"], text) == "false"}


def _recipient(text: str) -> dict[str, Any]:
    try:
        return {"recipients__contains": [addresses.parse(text).spec]}
    except ValueError:
        raise ValueError("One email address, for example ann@example.org.") from None


def _since(text: str) -> dict[str, Any]:
    """The time itself decides; the id, which begins with it, lets the index skip what is older."""
    try:
        since = datetime.fromisoformat(text)
        if since.tzinfo is None:
            raise ValueError
        return {"created_at__gte": since, "id__gte": _first_id(since.astimezone(UTC) - CLOCK_SKEW)}
    except (ValueError, OverflowError):
        raise ValueError("A time with its zone, for example 2030-01-31T12:00:00Z (write + as %2B).") from None


def _first_id(at: datetime) -> UUID:
    """The smallest UUIDv7 (RFC 9562 §5.7) of this millisecond."""
    milliseconds = max(0, int(at.timestamp() * 1000))
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)
