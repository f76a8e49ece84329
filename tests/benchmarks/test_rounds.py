"""Rounds alternate, and ratios are of rounds that stood side by side."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.rounds import Figures, Goal, Series, alternate


def series_of(**values):
    series = Series("drain", "jobs/s", goals=(Goal("Other", must=2, moonshot=5),))
    series.figures = {name: [Figures(value) for value in rounds] for name, rounds in values.items()}
    series.yardsticks = [10.0, 8.0]
    return series


def test_contenders_take_turns():
    order, heard = [], []
    contenders = {name: lambda name=name: (order.append(name), Figures(1.0))[1] for name in "ABC"}

    alternate(Series("x", "y"), contenders, rounds=2, tell=lambda *what: heard.append(what[1:3]))

    assert order == list("ABCABC")
    assert heard[:2] == [(1, "A")] * 2


def test_ratios_are_taken_round_by_round():
    series = series_of(Sendonce=[100.0, 50.0, 90.0], Other=[10.0, 10.0, 30.0])

    assert series.ratios("Sendonce", "Other") == [10.0, 5.0, 3.0]
    assert series.median("Sendonce") == 90.0
    assert series.noise == pytest.approx(0.2)


def test_the_table_shows_medians_spreads_ratios_and_goals():
    console = Console(record=True, width=200)

    report.print_series(console, series_of(Sendonce=[100.0, 50.0, 90.0], Other=[10.0, 10.0, 30.0]))

    told = console.export_text()
    for words in ("within 20%", "90", "50", "100", "5.00 (3.00–10.00)", "2, at best 5"):
        assert words in told


def test_the_json_has_every_round():
    (workload,) = report.as_json([series_of(Sendonce=[1.0], Other=[2.0])], {"cores": 2})["workloads"].values()

    assert workload["rounds"] == {"Sendonce": [{"value": 1.0}], "Other": [{"value": 2.0}]}
    assert workload["ratios"] == {"Other": [0.5]}
