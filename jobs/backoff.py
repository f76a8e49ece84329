"""How long to wait before the next attempt. Pure."""

from __future__ import annotations

import random

from jobs.conf import Tunables
from jobs.types import Retry


def wait_seconds(
    attempt: int,
    conf: Tunables,
    *,
    retry: Retry | None = None,
    retry_after: float | None = None,
    roll: float | None = None,
) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    By the type's schedule, if it has one; else exponential from the base, capped (the type's, else
    `retry_base_seconds` and `retry_cap_seconds`). Spread by ± `retry_jitter`, so that jobs which failed together do not
    come back together. A time the other side named (`retry_after`) is a floor. `roll` in [0, 1) stands in for chance in
    tests.
    """
    retry = retry or Retry()
    base = conf.retry_base_seconds if retry.base_seconds is None else retry.base_seconds
    cap = conf.retry_cap_seconds if retry.cap_seconds is None else retry.cap_seconds
    exponent = min(max(attempt, 1) - 1, 32)
    plain = min(base * 2**exponent, cap)
    if retry.schedule:
        plain = retry.schedule[min(max(attempt, 1), len(retry.schedule)) - 1]
        cap = max(retry.schedule)
    chance = random.random() if roll is None else roll
    spread = plain * (1 + conf.retry_jitter * (2 * chance - 1))
    return max(spread, min(retry_after or 0.0, cap))
