"""What workers tell each other in Redis: whose circuit is open, and who has had enough for now."""

from __future__ import annotations

import pytest

from jobs import throttles
from jobs.rates import Rate
from jobs.throttles import Circuit, Counts, Draw, Turn
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("no_thread_stays")

MAIN, BACKUP = "email:main", "email:backup"
CLOSED, JUST_OPENED = Circuit(None), Circuit(30.0, has_just_opened=True)


def told(ok: int = 0, bad: int = 0, name: str = MAIN) -> Circuit:
    return throttles.report({name: Counts(ok, bad)})[name]


@pytest.fixture
def short(tunables) -> None:
    """An open circuit may be tried after a moment."""
    tunables(circuit_open_seconds=0.2)


def is_over() -> bool:
    return told().open_seconds == 0


# ── When a circuit opens ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ok", "bad", "opens"),
    [
        (0, 3, True),
        (0, 2, False),  # too few to say anything
        (2, 3, True),  # 60 %
        (3, 4, False),  # 57 %
        (1000, 3, False),
        (3, 0, False),
    ],
)
def test_it_opens_when_three_in_five_of_at_least_three_calls_fail(bell, ok, bad, opens):
    assert told(ok, bad).has_just_opened is opens


def test_what_several_workers_saw_is_added_up(bell):
    assert [told(bad=1), told(ok=1), told(bad=1)] == [CLOSED, CLOSED, JUST_OPENED]


def test_what_worked_just_before_counts(bell):
    told(ok=3)

    assert told(bad=4) == CLOSED
    assert told(bad=1) == JUST_OPENED


def test_calls_of_another_time_do_not_count(bell, monkeypatch):
    monkeypatch.setattr(throttles, "WINDOW_SECONDS", 0.3)  # three slices of a tenth
    told(ok=1_000_000)

    until(lambda: told(bad=1).has_just_opened)  # each of these is one more that failed; the million are forgotten


def test_each_has_its_own(bell):
    said = throttles.report({MAIN: Counts(bad=3), BACKUP: Counts(ok=3), "webhook:1:example.org": Counts()})

    assert said == {MAIN: JUST_OPENED, BACKUP: CLOSED, "webhook:1:example.org": CLOSED}


def test_while_it_is_open_nobody_calls_and_what_was_under_way_changes_nothing(bell):
    told(bad=3)

    for late in (told(), told(ok=100), told(bad=100)):
        assert 0 < late.open_seconds <= 30.0
        assert not late.has_just_opened
    assert 0 < throttles.may_try(MAIN).open_seconds <= 30.0
    assert not throttles.close(MAIN), "a call that began before it opened proves nothing"
    assert told().open_seconds > 0


def test_when_nobody_has_asked_anything_nobody_is_told_anything(bell):
    assert throttles.report({}) == {}
    assert throttles.may_try(MAIN) == CLOSED
    assert throttles.close(MAIN) is False


# ── When it closes ────────────────────────────────────────────────────────────────────────────


def test_when_its_time_is_over_one_tries(bell, short):
    told(bad=3)
    until(is_over)

    assert throttles.may_try(MAIN) == Circuit(0.0)
    others = throttles.may_try(MAIN).open_seconds
    assert 0 < others <= 0.2, "nobody else, for as long as that may take"


def test_whoever_asks_meanwhile_asks_again_soon(bell, short, tunables):
    told(bad=3)
    until(is_over)
    tunables(circuit_open_seconds=30.0)
    throttles.may_try(MAIN)

    assert throttles.may_try(MAIN).open_seconds == throttles.TRIAL_SECONDS


def test_when_that_works_it_is_closed_and_begins_again(bell, short):
    told(bad=3)
    until(is_over)
    throttles.may_try(MAIN)

    assert throttles.close(MAIN)
    assert not throttles.close(MAIN)
    assert told(bad=2) == CLOSED
    assert told(bad=1).has_just_opened


def test_when_it_does_not_it_is_open_again(bell, short):
    told(bad=3)
    until(is_over)
    throttles.may_try(MAIN)

    assert told(bad=1) == Circuit(0.2, has_just_opened=True)


def test_who_tries_and_is_never_heard_of_again_leaves_it_to_the_next(bell, short):
    told(bad=3)
    until(is_over)
    throttles.may_try(MAIN)

    until(lambda: throttles.may_try(MAIN).open_seconds == 0)


def test_nothing_is_kept_for_ever(bell):
    told(ok=1)
    told(bad=3, name=BACKUP)
    throttles.take([[Draw("provider:main", Rate(5, 1))]])

    keys = bell.keys("*")
    assert len(keys) == 3
    assert all(0 < bell.ttl(key) <= 600 for key in keys)


# ── Token buckets ─────────────────────────────────────────────────────────────────────────────

FIVE = Rate(5, 3600)  # so slow that none comes back during a test
TWO = Rate(2, 3600)


def waits(*wishes: list[Draw]) -> list[bool]:
    return [turn.wait_seconds > 0 for turn in throttles.take(wishes)]


def test_a_bucket_gives_what_it_holds_and_then_nothing(bell):
    draw = [Draw("provider:main", FIVE)]

    assert waits(*[draw] * 3) == [False] * 3
    assert waits(*[draw] * 3) == [False, False, True]


def test_a_job_has_tokens_from_all_its_buckets_or_from_none(bell):
    both = [Draw("provider:main", FIVE), Draw("domain:example.org", TWO)]
    throttles.take([both, both])

    [turn] = throttles.take([both])
    assert turn.lacks == "domain:example.org"
    assert waits(*[[Draw("provider:main", FIVE)]] * 4) == [False, False, False, True], "it has taken none of these"


def test_several_rates_of_one_name_all_hold(bell):
    draws = [Draw("provider:main", Rate(100, 1)), Draw("provider:main", TWO)]

    assert waits(draws, draws, draws) == [False, False, True]


def test_a_job_of_many_recipients_takes_as_many_and_never_more_than_there_can_be(bell):
    assert waits([Draw("domain:example.org", FIVE, 3)], [Draw("domain:example.org", FIVE, 3)]) == [False, True]
    assert waits([Draw("domain:example.com", FIVE, 40)]) == [False]
    assert waits([Draw("domain:example.com", FIVE, 1)]) == [True]


def test_who_is_turned_away_waits_in_a_row(bell):
    draw = [Draw("provider:main", Rate(1, 1))]
    first, *others = throttles.take([draw] * 4)

    assert first == Turn()
    assert [round(turn.wait_seconds) for turn in others] == [1, 2, 3]
    assert round(throttles.take([draw])[0].wait_seconds) == 4


def test_nobody_is_told_to_wait_for_long(bell):
    draw = [Draw("provider:main", Rate(1, 86_400))]

    assert throttles.take([draw] * 3)[2].wait_seconds == throttles.LONGEST_ROW_SECONDS


def test_tokens_come_back_evenly(bell):
    draw = [Draw("provider:main", Rate(20, 1))]
    throttles.take([draw] * 20)

    until(lambda: waits(draw) == [False])
    assert waits(*[draw] * 20).count(True) > 0, "not all of them at once"


def test_who_wants_no_token_does_not_wait(bell):
    assert throttles.take([]) == []
    assert throttles.take([[], []]) == [Turn(), Turn()]
    assert throttles.take([[], [Draw("provider:main", FIVE)]]) == [Turn(), Turn()]
    assert len(bell.keys("*")) == 1


# ── Redis is away ─────────────────────────────────────────────────────────────────────────────


def test_without_redis_all_circuits_are_closed_and_nobody_waits(own_redis):
    told(bad=3)
    own_redis.stop()

    assert throttles.report({MAIN: Counts(bad=3)}) == {}
    assert throttles.may_try(MAIN) == CLOSED
    assert throttles.close(MAIN) is False
    assert throttles.take([[Draw("provider:main", TWO)]] * 3) == [Turn()] * 3
