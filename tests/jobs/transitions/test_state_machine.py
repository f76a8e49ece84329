"""The state machine by property: anybody, at any step, in any order, over a real PostgreSQL (game.py, play.py).

After every move an observer compares all tables with what they said before (observer.py, pictures.py) and with what
servers were really given (promise.py); and every story ends with everybody ending what he holds (last_act.py). A move
is a whole transaction here. What happens between the statements of two of them is in test_races.py and test_traces.py;
that a broken guard would be noticed is in test_state_machine_teeth.py.

`make test` plays the same stories every time: when one fails, it is the change that did it, and not the luck of the
day, and it fails for everybody. New stories are for those who have the time:

    python -m pytest tests/jobs/transitions/test_state_machine.py --hypothesis-profile=long

plays thousands, others each time, for about an hour. A story that fails is reduced for up to five minutes, told act by
act, and kept in .hypothesis/, where the next long run plays it first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings

from tests.jobs.transitions.pictures import DELIVERIES, JOBS, Arrow
from tests.jobs.transitions.stories import ARROWS, tell, tell_new_ones

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "state-machine.md"
IS_LONG = settings.get_current_profile_name() == "long"
FEWEST_SEEDS, MOST_SEEDS = 7, 60


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(0 if IS_LONG else 1800)  # to reduce a story that fails takes minutes
def test_whatever_anybody_does_in_any_order_the_promise_is_kept(eyes: psycopg.Connection[Any]) -> None:
    if IS_LONG:
        tell_new_ones(eyes)
        return
    unseen = set(ARROWS)
    for seed in range(MOST_SEEDS):
        unseen -= tell(seed, eyes)
        if not unseen and seed + 1 >= FEWEST_SEEDS:
            return
    pytest.fail(f"dull stories: nobody ever drew {unseen}")


@pytest.mark.parametrize(("number", "drawn"), [(0, JOBS), (1, DELIVERIES)], ids=["jobs", "deliveries"])
def test_the_document_draws_what_happens_and_nothing_else(number: int, drawn: dict[str, set[Arrow]]) -> None:
    picture = re.findall(r"```mermaid\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[number]

    arrows = re.findall(r"^\s+(\S+) --> (\w+)", picture, re.MULTILINE)

    assert {(None if old == "[*]" else old, new) for old, new in arrows} == set().union(*drawn.values())
