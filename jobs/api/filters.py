"""What may stand behind the `?` of a list. A bad value or an unknown name is named, with what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from jobs import addresses, suppressions, types
from jobs.errors import InvalidRequest
from jobs.states import Reason, Status, SuppressionReason
from jobs.unsubscribing import TOPIC_REMEDY, is_topic

CLOCK_SKEW = timedelta(hours=2)  # ids carry the API's clock, which may be wrong; created_at has PostgreSQL's
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)  # no id is older

PAGING = ("limit", "cursor")  # paging.py reads these

Lookup = Callable[[str], dict[str, Any]]  # raises ValueError with what is allowed


def job_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `status`, `type`, `recipient` and `since`. Raises InvalidRequest."""
    return _read(params, {"status": _status, "type": _type, "recipient": _recipient, "since": _since})


def schedule_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `type` and `paused`. Raises InvalidRequest."""
    return _read(params, {"type": _type, "paused": _paused})


def suppression_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `address`, `reason` and `topic`. Raises InvalidRequest."""
    return _read(params, {"address": _compared, "reason": _suppression_reason, "topic": _topic})


def topic_of(params: Mapping[str, str]) -> str:
    """The `topic` of a call that takes no other parameter; "" without one. Raises InvalidRequest."""
    topic: str = _read(params, {"topic": _topic}).get("topic", "")
    return topic


def dead_letter_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for `reason`, `type`, `since`, `until` and `resolved`. Raises InvalidRequest."""
    return _read(params, SELECTION | {"resolved": _resolved})


def selection_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """Django lookups for what may select dead letters in a body. Raises InvalidRequest."""
    return _read(params, SELECTION)


def no_lookups(params: Mapping[str, str]) -> dict[str, Any]:
    """For a list that is shown as it is. Raises InvalidRequest."""
    return _read(params, {})


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
    return {"type": _one_of(types.names(), text)}


def _paused(text: str) -> dict[str, Any]:
    return {"paused": _one_of(["true", "false"], text) == "true"}


def _reason(text: str) -> dict[str, Any]:
    return {"reason": _one_of(Reason, text)}


def _resolved(text: str) -> dict[str, Any]:
    return {"resolution__isnull": _one_of(["true", "false"], text) == "false"}


def _recipient(text: str) -> dict[str, Any]:
    try:
        return {"recipients__contains": [addresses.parse(text).spec]}
    except ValueError:
        raise ValueError("One email address, for example ann@example.org.") from None


def _compared(text: str) -> dict[str, Any]:
    try:
        return {"address": suppressions.compared(text)}
    except ValueError:
        raise ValueError("One email address, for example ann@example.org.") from None


def _suppression_reason(text: str) -> dict[str, Any]:
    return {"reason": _one_of(SuppressionReason, text)}


def _topic(text: str) -> dict[str, Any]:
    if not is_topic(text):
        raise ValueError(TOPIC_REMEDY)
    return {"topic": text}


def _since(text: str) -> dict[str, Any]:
    """The time itself decides; the id, which begins with it, lets the index skip what is older."""
    since = _time(text)
    return {"created_at__gte": since, "id__gte": _first_id(max(since, EARLIEST) - CLOCK_SKEW)}


def _died_since(text: str) -> dict[str, Any]:
    return {"died_at__gte": _time(text)}


def _died_until(text: str) -> dict[str, Any]:
    return {"died_at__lt": _time(text)}


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A time with its zone, for example 2030-01-31T12:00:00Z (write + as %2B).") from None


def _first_id(at: datetime) -> UUID:
    """The smallest UUIDv7 (RFC 9562 §5.7) of this millisecond."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


SELECTION: dict[str, Lookup] = {"reason": _reason, "type": _type, "since": _died_since, "until": _died_until}
