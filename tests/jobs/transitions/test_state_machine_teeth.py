"""Would the game notice? Each mutant of the protocol has to lose it within a few hundred stories (mutants.py)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import DatabaseError
from hypothesis import Phase, settings

from jobs.sql import STATEMENTS
from tests.jobs.transitions.mutants import MUTANTS, broken
from tests.jobs.transitions.stories import NINE, tell

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

MOST_SEEDS = 60
AS_IT_IS = settings(NINE, phases=[Phase.generate], report_multiple_bugs=False)  # it need not be reduced to be believed


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_noticed(
    mutant: str, eyes: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, unaudited: None
) -> None:
    for name, statement in broken(STATEMENTS, mutant).items():
        monkeypatch.setitem(STATEMENTS, name, statement)

    assert any(_is_noticed(seed, eyes) for seed in range(MOST_SEEDS))


def _is_noticed(seed: int, eyes: psycopg.Connection[Any]) -> bool:
    try:
        tell(seed, eyes, how=AS_IT_IS)
    except (AssertionError, DatabaseError):
        return True
    return False
