"""When somebody who is asked over HTTP wants to be asked again (RFC 9110 §10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

BUSY: Final = frozenset({408, 425, 429})


def seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """A `Retry-After` in seconds from now, of which it gives a number or a date; None when it is neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def is_busy(status: int, after: float | None) -> bool:
    """Whether an HTTP answer with this Retry-After says clearly that nothing was taken, and may be later. A bare 503
    does not: proxies say it of requests that they have handed on."""
    return status in BUSY or (status == 503 and after is not None)
