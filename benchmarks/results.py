"""What is kept of a run, by version (results/0.1.0.json, and results/0.1.0-quick.json of quick ones), and how a later
run compares."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import GATED
from benchmarks.ground import ROOT
from benchmarks.rounds import Series

FOLDER = ROOT / "benchmarks" / "results"
QUICK = "-quick"
STEADY = 0.15  # so much of a machine's own variation goes without saying


def version() -> str:
    """Of the tree that is measured."""
    told: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return told


def path_of(version: str, *, is_quick: bool, folder: Path = FOLDER) -> Path:
    return folder / f"{version}{QUICK if is_quick else ''}.json"


def summary(series: Series, *, seconds: float) -> dict[str, Any]:
    """Of all rounds the median, the least and the most."""
    told: dict[str, Any] = {
        "unit": series.unit,
        "subject": series.subject,
        "noise": _short(series.noise),
        "seconds": round(seconds),
        "figures": {name: _points(series.values(name)) for name in series.figures},
        "ratios": {
            name: _points(ratios)
            for name in series.figures
            if name != series.subject and (ratios := series.ratios(series.subject, name))
        },
    }
    if (rival := series.rival) is not None:
        told["rival"] = rival
    if memory := series.medians("pss_mib"):
        told["pss_mib"] = {name: _short(sum(sizes.values())) for name, sizes in memory.items()}
    if pages := series.medians("pages_ms"):
        told["pages_ms"] = {name: {page: _short(ms) for page, ms in each.items()} for name, each in pages.items()}
    return told | ({"notes": series.notes} if series.notes else {})


def _points(values: list[float]) -> list[float]:
    return [_short(value) for value in (median(values), min(values), max(values))]


def _short(value: float) -> float:
    """Three digits: the rest is noise."""
    return float(f"{value:.3g}")


def save(told: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What stands in the file now. What it knew of other workloads stays, if the same machine measured it."""
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = before["workloads"] if before.get("machine") == told["machine"] else {}
    whole = {**told, "workloads": {**kept, **told["workloads"]}}
    path.write_text(_compact(whole) + "\n")
    return whole


def _compact(told: Mapping[str, Any]) -> str:
    """A line for each list of figures, so that a change of one is a change of one line."""
    return re.sub(
        r"\[\s+([^\[\]{}]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(told, indent=1)
    )


def last(*, is_quick: bool, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The newest by version that is stored of this kind."""
    found = {}
    for path in folder.glob("*.json"):
        name = path.stem.removesuffix(QUICK)
        if path.stem.endswith(QUICK) == is_quick and re.fullmatch(r"\d+(\.\d+)*", name):
            found[tuple(map(int, name.split(".")))] = path
    return json.loads(found[max(found)].read_text()) if found else None


def seconds(stored: Mapping[str, Any] | None) -> dict[str, float]:
    """What each workload took."""
    return {name: each["seconds"] for name, each in stored["workloads"].items()} if stored else {}


def comparison(told: Mapping[str, Any], stored: Mapping[str, Any] | None) -> list[str]:
    """One line for each workload: its foremost ratio, or where there is no rival its figure, now and then."""
    return [f"{name} {_now(each)} ({_then(name, told, stored)})" for name, each in told["workloads"].items()]


def _now(workload: Mapping[str, Any]) -> str:
    rival: str | None = workload.get("rival")
    return f"{_figure(workload, rival)} {rival.replace(GATED, '+gate') if rival else workload['unit']}"


def _then(name: str, told: Mapping[str, Any], stored: Mapping[str, Any] | None) -> str:
    now, before = told["workloads"][name], stored["workloads"].get(name) if stored else None
    rival: str | None = now.get("rival")
    if stored is None or before is None or before["subject"] != now["subject"]:
        return "nothing stored to compare with"
    if rival and rival not in before["ratios"]:
        return "nothing stored to compare with"
    is_same = stored["version"] == told["version"]
    label = f"{'stored for' if is_same else 'last release'} {stored['version']}"
    elsewhere = "" if rival or stored["machine"] == told["machine"] else ", on another machine"
    return f"{label}: {_figure(before, rival)}{elsewhere}{_unsteady(now, before)}"


def _unsteady(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """A warning where the machine itself varied so much that a difference says little."""
    if max(now["noise"], before["noise"]) <= STEADY:
        return ""
    return f"; the machine varied by {now['noise']:.0%} now and by {before['noise']:.0%} then"


def _figure(told: Mapping[str, Any], rival: str | None) -> str:
    if rival:
        ratio: float = told["ratios"][rival][0]
        return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 1.5 else 2}f}x"
    value: float = told["figures"][told["subject"]][0]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
