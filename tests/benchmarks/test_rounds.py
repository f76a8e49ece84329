"""Rounds alternate, and ratios are of rounds that stood side by side."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.rounds import Figures, Goal, Series, Turn, alternate, together


def series_of(**values):
    series = Series("drain", "jobs/s", goals=(Goal("Other", must=2, moonshot=5),))
    series.figures = {name: [Figures(value) for value in rounds] for name, rounds in values.items()}
    series.yardsticks = [10.0, 8.0]
    return series


def test_contenders_take_turns():
    order, heard = [], []
    contenders = {name: lambda name=name: (order.append(name), Figures(1.0))[1] for name in "ABC"}

    alternate(Series("x", "y"), contenders, rounds=2, tell=lambda turn, _: heard.append((turn.number, turn.contender)))

    assert order == list("ABCABC")
    assert heard[:2] == [(1, "A")] * 2


def test_a_turn_knows_how_far_the_workload_has_come():
    turns = []
    alternate(
        Series("x", "y"), {name: lambda: Figures(1.0) for name in "AB"}, rounds=2, tell=lambda t, _: turns.append(t)
    )

    assert [turn.share for turn in turns[::2]] == [0.0, 0.25, 0.5, 0.75]
    assert Turn("x", 0, 2, "getting ready").share == 0.0


def test_one_run_may_tell_of_several():
    heard = []
    run = {"before": Figures(50.0), "after": Figures(55.0)}

    series = together(Series("x", "MiB"), lambda: run, rounds=2, tell=lambda turn, figures: heard.append(figures))

    assert series.values("after") == [55.0, 55.0]
    assert heard == [None, *run.values()] * 2


def test_where_less_is_better_goals_are_bounds():
    series = Series("memory", "MiB", goals=(Goal("before", must=1.05),), at_most=60, at_best=45, subject="after")
    series.figures = {"before": [Figures(50.0)], "after": [Figures(55.0)]}
    series.notes.append("swap: not measured")
    console = Console(record=True, width=200)

    report.print_series(console, series)

    told = console.export_text()
    for words in (
        "after is … times",
        "1.10 (1.10–1.10)",
        "at most 1.05",
        "at most 60, at best 45",
        "swap: not measured",
    ):
        assert words in told
    assert series.rival is None


def test_pages_have_a_table_of_their_own():
    series = Series("growth", "jobs/s")
    series.figures = {
        name: [Figures(1.0, {"pages_ms": {"GET /jobs": ms}, "pss_mib": [50.0]})]
        for name, ms in (("none", 3.1), ("many", 4.2))
    }
    series.subject = "many"
    console = Console(record=True, width=200)

    report.print_series(console, series)
    report.tell(console, Turn("growth", 1, 1, "many"), series.figures["many"][0])

    told = console.export_text()
    for words in ("median milliseconds", "GET /jobs", "3.1", "4.2", "growth, round 1: many 1   pss_mib 50"):
        assert words in told


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
