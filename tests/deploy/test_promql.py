"""The reading of queries, by which the other tests judge them."""

from __future__ import annotations

import pytest

from tests.deploy.promql import concrete, grouped_by, selectors

QUERY = """
    max by (job, part) (time() - a{x="1"}) > 2
    and on () sum without (y) (rate(b_total{x!="1"}[$__rate_interval] offset 5m))
    or absent(c{x=~"1|2"} == 1) unless histogram_quantile(0.9, sum by (le) (max_over_time(max(d{x!~"1."})[30m:1m])))
"""


def test_every_selector_is_found_however_deep_it_stands():
    assert [selector.name for selector in selectors(QUERY)] == ["a", "b_total", "c", "d"]


def test_the_labels_that_stay_are_found():
    assert grouped_by(QUERY) == {"job", "part", "le"}


@pytest.mark.parametrize(
    ("selector", "labels", "is_selected"),
    [
        ('a{x="1"}', {"x": "1", "y": "2"}, True),
        ('a{x="1"}', {"x": "11"}, False),
        ('a{x="1"}', {}, False),
        ('a{x=""}', {}, True),
        ('a{x!="1"}', {}, True),
        ('a{x!="1"}', {"x": "1"}, False),
        ('a{x=~"5.."}', {"x": "503"}, True),
        ('a{x=~"5.."}', {"x": "5030"}, False),
        ('a{x!~"5.."}', {"x": "503"}, False),
        ('a{x="1", y="2"}', {"x": "1", "y": "3"}, False),
    ],
)
def test_a_selector_selects_as_in_prometheus(selector, labels, is_selected):
    (found,) = selectors(selector)

    assert found.selects("a", labels) is is_selected
    assert not found.selects("another", labels)


@pytest.mark.parametrize("text", ["sum(rate(a))", "sum(rate(a[5m])", "a{x=1}", "", "a ==", "nonsense(a)"])
def test_what_is_no_query_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's words are its own
        selectors(text)


def test_variables_of_grafana_become_times():
    assert concrete("rate(a[$__rate_interval])") == "rate(a[1m])"
    assert concrete("rate(a[$__rate_interval])", rate_interval="5s") == "rate(a[5s])"
