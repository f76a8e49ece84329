"""How long to wait: bounded, spread, and never shorter than the other side asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import wait_seconds
from jobs.conf import tunables
from jobs.types import Retry

CONF = replace(tunables(), retry_base_seconds=1.0, retry_cap_seconds=21_600.0, retry_jitter=0.2)

attempts = st.integers(min_value=-5, max_value=10_000)
rolls = st.floats(min_value=0, max_value=1, exclude_max=True)
seconds = st.floats(min_value=0, max_value=1e9)
confs = st.builds(
    lambda base, cap, jitter: replace(CONF, retry_base_seconds=base, retry_cap_seconds=cap, retry_jitter=jitter),
    st.floats(min_value=0.001, max_value=100),
    st.floats(min_value=0.001, max_value=1e6),
    st.floats(min_value=0, max_value=1),
)


@pytest.mark.parametrize(("attempt", "waits"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (15, 16_384), (16, 21_600)])
def test_each_wait_is_twice_the_one_before_up_to_the_cap(attempt, waits):
    assert wait_seconds(attempt, CONF, roll=0.5) == waits


def test_the_jitter_spreads_to_both_sides():
    assert wait_seconds(1, CONF, roll=0.0) == pytest.approx(0.8)
    assert wait_seconds(1, CONF, roll=1.0 - 1e-12) == pytest.approx(1.2)


@given(attempts, confs, rolls)
def test_no_wait_is_negative_or_longer_than_the_cap_and_its_jitter(attempt, conf, roll):
    waits = wait_seconds(attempt, conf, roll=roll)

    assert 0 <= waits <= conf.retry_cap_seconds * (1 + conf.retry_jitter) * (1 + 1e-9)


@given(attempts, confs, rolls)
def test_the_plain_wait_lies_within_the_jitter(attempt, conf, roll):
    plain = wait_seconds(attempt, replace(conf, retry_jitter=0.0))

    waits = wait_seconds(attempt, conf, roll=roll)

    assert plain * (1 - conf.retry_jitter) * (1 - 1e-9) <= waits <= plain * (1 + conf.retry_jitter) * (1 + 1e-9)


@given(attempts, confs, rolls)
def test_a_later_attempt_waits_no_shorter(attempt, conf, roll):
    assert wait_seconds(attempt, conf, roll=roll) <= wait_seconds(attempt + 1, conf, roll=roll)


@given(attempts, confs, rolls, seconds)
def test_what_the_other_side_asks_for_is_a_floor_up_to_the_cap(attempt, conf, roll, retry_after):
    asked = wait_seconds(attempt, conf, roll=roll, retry_after=retry_after)

    assert asked >= min(retry_after, conf.retry_cap_seconds)
    assert asked in (wait_seconds(attempt, conf, roll=roll), min(retry_after, conf.retry_cap_seconds))


@pytest.mark.parametrize("retry_after", [None, 0.0, -5.0])
def test_a_time_that_has_passed_changes_nothing(retry_after):
    assert wait_seconds(2, CONF, roll=0.5, retry_after=retry_after) == 2


def test_an_endless_time_is_cut_to_the_cap():
    assert wait_seconds(1, CONF, retry_after=float("inf")) == CONF.retry_cap_seconds


def test_jobs_that_failed_together_do_not_come_back_together():
    waits = {wait_seconds(4, CONF) for _ in range(100)}

    assert len(waits) > 90
    assert all(6.4 <= wait <= 9.6 for wait in waits)


def test_a_type_waits_in_its_own_way():
    assert [wait_seconds(n, CONF, retry=Retry(base_seconds=30.0, cap_seconds=90.0), roll=0.5) for n in (1, 2, 3)] == [
        30.0,
        60.0,
        90.0,
    ]
    assert wait_seconds(3, CONF, retry=Retry(cap_seconds=3.0), roll=0.5) == 3.0
    assert wait_seconds(1, CONF, retry=Retry(base_seconds=0.0), roll=0.5) == 0.0


@pytest.mark.parametrize(("attempt", "waits"), [(0, 5), (1, 5), (2, 300), (3, 3600), (4, 3600), (99, 3600)])
def test_a_schedule_says_each_wait_and_its_last_is_repeated(attempt, waits):
    assert wait_seconds(attempt, CONF, retry=Retry(schedule=(5.0, 300.0, 3600.0)), roll=0.5) == waits


def test_with_a_schedule_another_side_may_ask_for_as_long_as_its_longest():
    retry = Retry(schedule=(5.0, 90_000.0), cap_seconds=1.0)

    assert wait_seconds(1, CONF, retry=retry, retry_after=7_200.0, roll=0.5) == 7_200
    assert wait_seconds(1, CONF, retry=retry, retry_after=1e9, roll=0.5) == 90_000
