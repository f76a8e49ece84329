"""What queries ask for: the series they select and the labels they group by. Read by a parser of PromQL, which also
says whether a query is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser as parser

OF_GRAFANA = {"$__rate_interval": "1m", "$__range": "1h"}  # its variables, and what may stand in their place
FITS: dict[str, Callable[[str, str], bool]] = {
    "MatchOp.Equal": lambda wanted, value: wanted == value,
    "MatchOp.NotEqual": lambda wanted, value: wanted != value,
    "MatchOp.Re": lambda wanted, value: bool(re.fullmatch(wanted, value)),
    "MatchOp.NotRe": lambda wanted, value: not re.fullmatch(wanted, value),
}


@dataclass(frozen=True)
class Selector:
    """`name{label="value"}`; what it asks of each label is a triple of operator, label and value."""

    name: str
    asks: tuple[tuple[str, str, str], ...]

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """A label that a series lacks counts as empty, as in Prometheus."""
        fits = (FITS[operator](value, labels.get(label, "")) for operator, label, value in self.asks)
        return name == self.name and all(fits)


def selectors(query: str) -> list[Selector]:
    """Every selector in a query. Raises ValueError when it is no PromQL."""
    return [
        Selector(node.name, tuple((str(each.op), each.name, each.value) for each in node.matchers.matchers))
        for node in _nodes(query)
        if isinstance(node, parser.VectorSelector)
    ]


def grouped_by(query: str) -> set[str]:
    """The labels that aggregations keep."""
    modifiers = [node.modifier for node in _nodes(query) if isinstance(node, parser.AggregateExpr) and node.modifier]
    by = [modifier for modifier in modifiers if modifier.type == parser.AggModifierType.By]
    return {label for modifier in by for label in modifier.labels}


def concrete(query: str, **instead: str) -> str:
    """Without Grafana's variables; `instead` says what stands for some of them, by name without `$__`."""
    for variable, value in OF_GRAFANA.items():
        query = query.replace(variable, instead.get(variable.removeprefix("$__"), value))
    return query


def _nodes(query: str) -> list[Any]:
    found: list[Any] = []
    parser.walk(parser.parse(concrete(query)), found.append)
    return found
