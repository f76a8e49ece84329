"""What is kept of a run is small, and a later run is compared with its like."""

from __future__ import annotations

import json

import pytest

from benchmarks import results
from benchmarks.rounds import Figures, Goal, Series

MACHINE = {"processor": "any", "cores": 2}


def a_series(ours=(40.0, 10.0, 20.0), theirs=(5.0, 5.0, 5.0), **more):
    series = Series("mail", "mails/s", goals=(Goal("Celery + hand-written gate", must=7),), **more)
    series.figures = {
        "Sendonce": [Figures(value, {"pss_mib": [50.0, 8.0]}) for value in ours],
        "Celery + hand-written gate": [Figures(value) for value in theirs],
    }
    series.yardsticks = [10.0, 9.0]
    return series


def a_bounded_series(value=4.0):
    series = Series("latency", "ms", at_most=5)
    series.figures = {"Sendonce": [Figures(value)]}
    return series


def told(version="0.2.0", machine=MACHINE, **workloads):
    return {
        "version": version,
        "machine": machine,
        "workloads": {name: results.summary(series, seconds=12.4) for name, series in workloads.items()},
    }


def test_the_version_is_the_projects():
    assert f"## {results.version()}" in (results.ROOT / "CHANGELOG.md").read_text()


def test_a_summary_has_medians_and_spreads_but_no_rounds():
    summary = results.summary(a_series(), seconds=12.4)

    assert summary["figures"]["Sendonce"] == [20.0, 10.0, 40.0]
    assert summary["ratios"] == {"Celery + hand-written gate": [4.0, 2.0, 8.0]}
    assert (summary["rival"], summary["noise"], summary["seconds"]) == ("Celery + hand-written gate", 0.1, 12)
    assert summary["pss_mib"] == {"Sendonce": 58.0}


def test_pages_are_kept_by_contender():
    series = Series("growth", "jobs/s")
    series.figures = {"no old rows": [Figures(1.0, {"pages_ms": {"GET /jobs": ms}}) for ms in (3.0, 9.0, 4.0)]}

    assert results.summary(series, seconds=1)["pages_ms"] == {"no old rows": {"GET /jobs": 4.0}}


def test_saved_beside_what_the_same_machine_measured_before(tmp_path):
    path = results.path_of("0.2.0", is_quick=True, folder=tmp_path / "results")
    results.save(told(mail=a_series(), latency=a_bounded_series()), path)

    whole = results.save(told(mail=a_series(ours=(10.0, 10.0, 10.0))), path)

    assert json.loads(path.read_text()) == whole
    assert set(whole["workloads"]) == {"mail", "latency"}
    assert whole["workloads"]["mail"]["figures"]["Sendonce"] == [10.0, 10.0, 10.0]
    assert '"Sendonce": [10.0, 10.0, 10.0]' in path.read_text()


def test_another_machine_starts_anew(tmp_path):
    path = tmp_path / "0.2.0.json"
    results.save(told(mail=a_series()), path)

    whole = results.save(told(machine={"cores": 64}, latency=a_bounded_series()), path)

    assert set(whole["workloads"]) == {"latency"}


def test_the_last_is_the_newest_version_of_the_same_kind(tmp_path):
    for version, is_quick in (("0.9.0", True), ("0.10.0", True), ("0.11.0", False)):
        results.save(told(version), results.path_of(version, is_quick=is_quick, folder=tmp_path))
    (tmp_path / "notes.json").write_text("{}")

    assert results.last(is_quick=True, folder=tmp_path)["version"] == "0.10.0"
    assert results.last(is_quick=False, folder=tmp_path)["version"] == "0.11.0"
    assert results.last(is_quick=False, folder=tmp_path / "none") is None


def test_expected_seconds_are_those_of_the_last():
    assert results.seconds(told(mail=a_series())) == {"mail": 12}
    assert results.seconds(None) == {}


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (told("0.1.0", mail=a_series(ours=(19.0,))), "mail 4.0x Celery+gate (last release 0.1.0: 3.8x)"),
        (told("0.2.0", mail=a_series(ours=(60.0,))), "mail 4.0x Celery+gate (stored for 0.2.0: 12x)"),
        (told("0.1.0", mail=a_series(ours=(4.7,))), "mail 4.0x Celery+gate (last release 0.1.0: 0.94x)"),
        (told("0.1.0", latency=a_bounded_series()), "mail 4.0x Celery+gate (nothing stored to compare with)"),
        (None, "mail 4.0x Celery+gate (nothing stored to compare with)"),
    ],
)
def test_ratios_are_compared(before, line):
    assert results.comparison(told(mail=a_series()), before) == [line]


def test_a_ratio_of_other_sizes_is_not_compared():
    now, before = a_series(subject="10,000 old rows"), a_series(subject="100,000 old rows")
    for series in (now, before):
        series.figures[series.subject] = series.figures["Sendonce"]

    (line,) = results.comparison(told(growth=now), told("0.1.0", growth=before))

    assert line.endswith("(nothing stored to compare with)")


def test_an_unsteady_machine_is_told_of():
    now, before = a_series(), a_series()
    now.yardsticks = [10.0, 4.0]

    (line,) = results.comparison(told(mail=now), told("0.1.0", mail=before))

    assert line.endswith("(last release 0.1.0: 4.0x; the machine varied by 60% now and by 10% then)")


def test_a_figure_without_a_rival_is_of_its_machine():
    now, before = told(latency=a_bounded_series(4.0)), told("0.1.0", latency=a_bounded_series(4.25))

    assert results.comparison(now, before) == ["latency 4 ms (last release 0.1.0: 4.25)"]
    assert results.comparison(now, before | {"machine": {}}) == [
        "latency 4 ms (last release 0.1.0: 4.25, on another machine)"
    ]
