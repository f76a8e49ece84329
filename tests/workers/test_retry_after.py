"""What `Retry-After` may say (RFC 9110 §10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workers import retry_after

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 31 Jan 2030 12:01:30 GMT", 90.0),
        ("Thu, 31 Jan 2030 11:00:00 GMT", 0.0),
        ("9" * 400, 999_999_999.0),
        *((nonsense, None) for nonsense in (None, "", "soon", "-5", "1.5", "²", "Thu, 99 Jan 2030")),
    ],
)
def test_seconds_or_a_date(value, seconds):
    assert retry_after.seconds(value, now=NOW) == seconds
