"""The picture shows every ratio, and can be read by day and by night."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.chart import Axis, chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(**workloads):
    machine = {"cores": 2, "processor": "one & only"}
    return ElementTree.fromstring(chart({"version": "0.1.0", "machine": machine, "workloads": workloads}))


def a_workload(ratios, rival="Celery"):
    return {"subject": "Sendonce", "rival": rival, "ratios": ratios}


def test_a_bar_for_each_ratio_ahead_to_the_right_and_behind_to_the_left():
    picture = drawn(drain=a_workload({"Celery": [20.0, 18.0, 22.0], "pgqueuer": [0.5, 0.5, 0.6]}))

    bars = {bar.get("class"): bar for bar in picture.iter(f"{SVG}rect") if bar.get("class") != "page"}
    one = next(line.get("x1") for line in picture.iter(f"{SVG}line") if line.get("class") == "one")
    assert set(bars) == {"ahead", "behind"}
    assert bars["ahead"].get("x") == one
    assert float(bars["behind"].get("x")) + float(bars["behind"].get("width")) == pytest.approx(float(one))
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"drain", "× Celery", "× pgqueuer", "20", "0.5"} <= set(words)
    assert "Sendonce 0.1.0 on 2 cores of one & only" in words


def test_colours_follow_the_page():
    nothing = {"version": "0.1.0", "machine": {"cores": 1, "processor": ""}, "workloads": {}}

    assert "prefers-color-scheme: dark" in chart(nothing)


def test_a_workload_without_a_rival_has_no_bar():
    picture = drawn(latency={"subject": "Sendonce", "ratios": {}})

    assert [bar.get("class") for bar in picture.iter(f"{SVG}rect")] == ["page"]


def test_twice_as_fast_is_as_far_from_one_as_half_as_fast():
    axis = Axis(0.1, 100.0)

    assert axis.x(2) - axis.x(1) == pytest.approx(axis.x(1) - axis.x(0.5), abs=0.2)
    assert list(axis.ticks()) == [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
