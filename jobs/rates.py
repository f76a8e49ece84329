"""Rates: how many of something in how long, as the environment writes them.

    14/s              fourteen in a second
    50000/d           so many in a day (s, m, h, d)
    14/s;50000/d      both

Each is a token bucket: it holds so many tokens, is full at first, and gets as many new ones in each period, evenly.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

PERIODS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EXAMPLE: Final = "14/s, 600/m, 14/s;50000/d"
MOST: Final = 10**9
_RATE = re.compile(r"([0-9]{1,10})/([smhd])")


class Rate(NamedTuple):
    """`most` in `period_seconds`."""

    most: int
    period_seconds: int

    @property
    def per_second(self) -> float:
        return self.most / self.period_seconds

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in PERIODS.items() if seconds == self.period_seconds)
        return f"{self.most}/{unit}"


def parse(text: str) -> tuple[Rate, ...]:
    """One rate or several, of different periods. Raises ValueError with the remedy."""
    rates = tuple(map(_one, text.split(";")))
    if len({rate.period_seconds for rate in rates}) < len(rates):
        raise ValueError(f"{text!r} names a period twice; the smaller of the two is the limit.")
    return rates


def _one(text: str) -> Rate:
    match = _RATE.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= MOST:
        raise ValueError(f"{text!r} is no rate. A rate is a whole number from 1 and a period (s, m, h, d): {EXAMPLE}")
    return Rate(int(match[1]), PERIODS[match[2]])
