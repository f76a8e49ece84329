"""The ratios of all workloads as one picture (SVG), readable in a light and in a dark page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from math import log10
from typing import Any

WIDTH, LABELS, RIGHT = 860, 300, 60  # pixels; the bars stand between
TOP, HEAD, ROW, BAR = 58, 30, 20, 12
TICKS = [step * 10**power for power in range(-3, 5) for step in (1, 2, 5)]

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 } .quiet { fill: #59636e; font-size: 12px }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #d1d9e0 } .one { stroke: #59636e } .spread { stroke: #1f2328; stroke-width: 1.5 }
.ahead { fill: #2f81f7 } .behind { fill: #bc7a10 } .page { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } .page { fill: #0d1117 }
  .grid { stroke: #30363d } .one { stroke: #9198a1 } .spread { stroke: #e6edf3 }
}
"""


def chart(told: Mapping[str, Any]) -> str:
    """Of a stored result. Bars begin at 1, which is as fast as the other one. The axis is logarithmic: twice as fast is
    as long to the right as half as fast to the left."""
    workloads = {name: each for name, each in told["workloads"].items() if each.get("rival")}
    ratios = [ratio for each in workloads.values() for points in each["ratios"].values() for ratio in points]
    axis = Axis(min(ratios, default=1.0), max(ratios, default=1.0))
    height = TOP + sum(HEAD + ROW * len(each["ratios"]) for each in workloads.values()) + 16
    machine = told["machine"]
    about = f"{told['version']} on {machine['cores']} cores of {machine['processor']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" aria-label="How many times as fast as the others, by workload">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            _text(16, 26, "How many times as fast", "title"),
            _text(WIDTH - 16, 26, f"Sendonce {about}", "quiet end"),
            *_grid(axis, height),
            *_all_bars(axis, workloads),
            "</svg>\n",
        ]
    )


class Axis:
    """From a ratio to a place between the labels and the right."""

    def __init__(self, least: float, most: float) -> None:
        self._least = min(least, 0.9)
        self._most = max(most, 1.1)

    def x(self, ratio: float) -> float:
        share = log10(ratio / self._least) / log10(self._most / self._least)
        return round(LABELS + share * (WIDTH - LABELS - RIGHT), 1)

    def ticks(self) -> Iterator[float]:
        return (tick for tick in TICKS if self._least <= tick <= self._most)


def _grid(axis: Axis, height: int) -> Iterator[str]:
    for tick in axis.ticks():
        x = axis.x(tick)
        yield f'<line class="{"one" if tick == 1 else "grid"}" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 16}"/>'
        yield _text(x, TOP - 6, f"{tick:g}", "quiet middle")


def _all_bars(axis: Axis, workloads: Mapping[str, Any]) -> Iterator[str]:
    y = TOP
    for name, each in workloads.items():
        subject = "" if each["subject"] == "Sendonce" else f": {each['subject']}"
        yield _text(16, y + HEAD - 9, f"{name}{subject}", "head")
        y += HEAD
        for rival, ratios in each["ratios"].items():
            yield _text(LABELS - 10, y + BAR - 1, f"× {rival}", "end")
            yield from _bar(axis, ratios, y)
            y += ROW


def _bar(axis: Axis, ratios: list[float], y: int) -> Iterator[str]:
    middle, least, most = ratios
    one, to = axis.x(1.0), axis.x(middle)
    kind = "ahead" if middle >= 1 else "behind"
    width = round(abs(to - one), 1)
    yield f'<rect class="{kind}" x="{min(one, to)}" y="{y}" width="{width}" height="{BAR}" rx="2"/>'
    yield f'<line class="spread" x1="{axis.x(least)}" x2="{axis.x(most)}" y1="{y + BAR / 2}" y2="{y + BAR / 2}"/>'
    yield _text(max(axis.x(most), one) + 6, y + BAR - 1, f"{middle:.3g}", "quiet")


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>'
