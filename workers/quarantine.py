"""The quarantine: jobs that were in hand when a worker died set out one at a time.

Which job of a batch took a worker down cannot be known, so all of them are suspect. Each is prepared alone: if the
worker dies again, that job is to blame and no other; if not, it is acquitted, and goes on like everybody's. So one
poison job ends after `POISON_DEATHS` deaths, and those that shared the first of them lose a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from math import inf

from jobs.claims import Claim
from workers.slots import Slots

CALM_SECONDS = 5.0  # in all, for trips under way to end: what is marked when a worker dies becomes an unknown
LOOK_SECONDS = 0.5  # between signs of life, while a trial goes on


def batches(claims: Sequence[Claim], slots: Slots, tick: Callable[[], None]) -> Iterator[list[Claim]]:
    """These claims (held in `slots` already) in the batches in which they may set out: each suspect alone, once all is
    calm; then everybody else at once."""
    suspects = [claim for claim in claims if claim.is_suspect]
    patient_until = time.monotonic() + CALM_SECONDS
    for number, suspect in enumerate(suspects):
        any(slots.wait_calm(len(claims) - number, timeout=look) for look in _looks(tick, patient_until))
        slots.try_alone(suspect.token)
        yield [suspect]
        any(slots.wait_tried(suspect.token, timeout=look) for look in _looks(tick))
    if others := [claim for claim in claims if not claim.is_suspect]:
        yield others


def _looks(tick: Callable[[], None], until: float = inf) -> Iterator[float]:
    """How long to wait before the next look, with a sign of life each time, until then."""
    while (left := until - time.monotonic()) > 0:
        tick()
        yield min(left, LOOK_SECONDS)
