"""What came out: a line for each round while it runs, a table for each workload, and JSON of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import OURS
from benchmarks.rounds import Figures, Goal, Series


def tell(console: Console, workload: str, number: int, contender: str, figures: Figures | None) -> None:
    if figures is None:
        console.print(f"{workload}, round {number}: {contender} …", style="dim")
    else:
        console.print(f"{workload}, round {number}: {contender} {_number(figures.value)}   {_more(figures.more)}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _more(more: Mapping[str, Any]) -> str:
    parts = []
    for name, value in more.items():
        if isinstance(value, Mapping):
            parts += [f"{key} {number:,.0f} µs" for key, number in value.items()]
        elif isinstance(value, list):
            parts.append(f"{name} {'/'.join(f'{number:.0f}' for number in value)}")
        else:
            parts.append(f"{name} {value:.2f}")
    return ", ".join(parts)


def print_series(console: Console, series: Series) -> None:
    table = Table(
        title=f"{series.name} ({series.unit}); machine steady within {series.noise:.0%}", title_justify="left"
    )
    for column in ("", "median", "least", "most", f"{OURS} is … times", "to reach"):
        table.add_column(column, justify="left" if not column else "right")
    goals = {goal.rival: goal for goal in series.goals}
    for name in series.figures:
        values = series.values(name)
        ratios = series.ratios(OURS, name)
        table.add_row(
            name,
            *(_number(value) for value in (median(values), min(values), max(values))),
            "" if name == OURS else f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            _goal(goals.get(name)) if name != OURS else _bound(series),
        )
    console.print(table)


def _bound(series: Series) -> str:
    if series.at_most is not None:
        return f"at most {series.at_most:g}"
    return f"{series.at_least:,.0f}" if series.at_least is not None else ""


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return ""
    return f"{goal.must:g}" + (f", at best {goal.moonshot:g}" if goal.moonshot else "")


def as_json(all_series: Sequence[Series], machine: Mapping[str, Any]) -> dict[str, Any]:
    return {"machine": dict(machine), "workloads": {series.name: _as_json(series) for series in all_series}}


def _as_json(series: Series) -> dict[str, Any]:
    return {
        "unit": series.unit,
        "noise": round(series.noise, 3),
        "yardstick_million_loops_per_second": [round(value, 1) for value in series.yardsticks],
        "ratios": {name: series.ratios(OURS, name) for name in series.figures if name != OURS},
        "rounds": {
            name: [{"value": figures.value, **figures.more} for figures in rounds]
            for name, rounds in series.figures.items()
        },
    }
