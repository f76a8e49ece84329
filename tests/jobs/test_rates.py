"""Rates, as people write them."""

from __future__ import annotations

import pytest

from jobs import rates
from jobs.rates import Rate


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("14/s", (Rate(14, 1),)),
        (" 600/m ", (Rate(600, 60),)),
        ("14/s;50000/d", (Rate(14, 1), Rate(50_000, 86_400))),
        ("1/h", (Rate(1, 3600),)),
    ],
)
def test_a_rate_is_so_many_in_so_long(text, meant):
    assert rates.parse(text) == meant
    assert ";".join(map(str, meant)) == text.strip()


def test_it_is_spread_evenly():
    assert Rate(600, 60).per_second == 10


@pytest.mark.parametrize("text", ["", "14", "14/x", "0/s", "-1/s", "1.5/s", "14/s;", "14 / s", "١/s", "99999999999/s"])
def test_what_is_none_is_told_how_one_looks(text):
    with pytest.raises(ValueError, match=r"14/s;50000/d"):
        rates.parse(text)


def test_of_one_period_there_is_one():
    with pytest.raises(ValueError, match="names a period twice"):
        rates.parse("14/s;20/s")
