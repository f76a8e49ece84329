"""hypothesis tells stories: runs of the game, a few from each seed, always the same, or as many as a profile wants."""

from __future__ import annotations

from typing import Any

import hypothesis
import psycopg
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.jobs.transitions.game import Protocol
from tests.jobs.transitions.pictures import DELIVERIES, JOBS, Arrow

PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])  # PostgreSQL is asked between any two draws
# Of ten or more stories in a row hypothesis tells half without ideas, in search of short ones.
NINE = settings(PATIENT, max_examples=9, stateful_step_count=50)

ARROWS = {("job", arrow) for arrow in set().union(*JOBS.values())}
ARROWS |= {("delivery", arrow) for arrow in set().union(*DELIVERIES.values())}


def tell(seed: int, eyes: psycopg.Connection[Any], *, how: settings = NINE) -> set[tuple[str, Arrow]]:
    """The stories of this seed; the arrows of the pictures that were drawn in them."""
    told: list[Protocol] = []

    @hypothesis.seed(seed)
    def protocol() -> Protocol:
        told.append(Protocol(eyes))
        return told[-1]

    run_state_machine_as_test(protocol, settings=how)
    return set().union(*(one.play.observer.seen for one in told))


def tell_new_ones(eyes: psycopg.Connection[Any]) -> None:
    """As many, and as long, as the profile of hypothesis says."""
    run_state_machine_as_test(lambda: Protocol(eyes), settings=PATIENT)
