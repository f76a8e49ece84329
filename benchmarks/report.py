"""What came out: a line for each round while it runs, a table for each workload, and JSON of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rounds import Figures, Goal, Series, Turn

PAGES = "pages_ms"  # told in a table of their own


def tell(console: Console, turn: Turn, figures: Figures) -> None:
    """The line of one round."""
    console.print(
        f"{turn.workload}, round {turn.number}: {turn.contender} {_number(figures.value)}   {_more(figures.more)}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _more(more: Mapping[str, Any]) -> str:
    parts = []
    for name, value in more.items():
        if name == PAGES:
            continue
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
    for column in ("", "median", "least", "most", f"{series.subject} is … times", "to reach"):
        table.add_column(column, justify="left" if not column else "right")
    goals = {goal.rival: goal for goal in series.goals}
    for name in series.figures:
        values = series.values(name)
        ratios = series.ratios(series.subject, name)
        table.add_row(
            name,
            *(_number(value) for value in (median(values), min(values), max(values))),
            "" if name == series.subject else f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            _goal(goals.get(name), series) if name != series.subject else _bound(series),
        )
    console.print(table)
    if pages := series.medians(PAGES):
        console.print(_pages(pages))
    for note in series.notes:
        console.print(note)


def _pages(pages: Mapping[str, Mapping[str, float]]) -> Table:
    """A column for each contender."""
    table = Table(title="median milliseconds of a page", title_justify="left")
    table.add_column("")
    for contender in pages:
        table.add_column(contender, justify="right")
    for page in next(iter(pages.values())):
        table.add_row(page, *(f"{each[page]:.1f}" for each in pages.values()))
    return table


def _bound(series: Series) -> str:
    if series.at_most is not None:
        return f"at most {series.at_most:g}" + (f", at best {series.at_best:g}" if series.at_best else "")
    return f"{series.at_least:,.0f}" if series.at_least is not None else ""


def _goal(goal: Goal | None, series: Series) -> str:
    if goal is None:
        return ""
    must = f"{'at most ' if series.is_less_better else ''}{goal.must:g}" if goal.must else ""
    return ", ".join(filter(None, (must, f"at best {goal.moonshot:g}" if goal.moonshot else "")))


def as_json(all_series: Sequence[Series], machine: Mapping[str, Any]) -> dict[str, Any]:
    return {"machine": dict(machine), "workloads": {series.name: _as_json(series) for series in all_series}}


def _as_json(series: Series) -> dict[str, Any]:
    return {
        "unit": series.unit,
        "noise": round(series.noise, 3),
        "yardstick_million_loops_per_second": [round(value, 1) for value in series.yardsticks],
        "ratios": {name: series.ratios(series.subject, name) for name in series.figures if name != series.subject},
        "rounds": {
            name: [{"value": figures.value, **figures.more} for figures in rounds]
            for name, rounds in series.figures.items()
        },
    }
