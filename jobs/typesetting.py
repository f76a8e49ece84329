"""Templates of strangers: read, looked through for the variables that they need, and filled in.

Runs in the processes of `jobs/press.py` only, which end whatever takes too long or too much. Liquid's own limits come
first, because they can say what was wrong (docs/decisions/0012). Ground; knows no Django.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import css_inline
from inscriptis import get_text
from inscriptis.model.config import ParserConfig
from liquid import BoundTemplate, Environment, RenderContext
from liquid.builtin.expressions import BooleanExpression, FilteredExpression
from liquid.builtin.expressions import Path as Lookup
from liquid.exceptions import (
    LiquidError,
    LocalNamespaceLimitError,
    LoopIterationLimitError,
    OutputStreamLimitError,
    UndefinedError,
)
from liquid.undefined import FalsyStrictUndefined

from jobs.prints import MOST_OUTPUT_BYTES, Flaw, Inspection, Need, Order, Path, Print, Sources, shown

MOST_ITERATIONS = 10_000
MOST_LOCAL_BYTES = 1024 * 1024
GIVEN_BY_LIQUID = frozenset({"now", "today"})
OF_ALL_LISTS = frozenset({"size", "first", "last"})  # what may stand at the end of a path without being a field
FORBIDDEN_TAGS = ("include", "render")  # one template is all that a template can reach
KEPT_TEMPLATES = 100  # parsed, in each process

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)
_with_links = ParserConfig(display_links=True)


class _Workshop(Environment):
    """Liquid within limits."""

    loop_iteration_limit = MOST_ITERATIONS
    local_namespace_limit = MOST_LOCAL_BYTES
    output_stream_limit = MOST_OUTPUT_BYTES


def _workshop(*, escapes: bool) -> Environment:
    made = _Workshop(undefined=FalsyStrictUndefined, autoescape=escapes)
    for tag in FORBIDDEN_TAGS:
        del made.tags[tag]
    return made


_WORKSHOPS = {"subject": _workshop(escapes=False), "text": _workshop(escapes=False), "html": _workshop(escapes=True)}


# ── What a template needs ─────────────────────────────────────────────────────────────────────


def inspect(sources: Sources) -> Inspection:
    """Read all of them. A variable that is asked for by `if`, `unless` or `default` may be absent."""
    read, flaws = _read(sources)
    if flaws:
        return Inspection(flaws=flaws)
    named = {path for template in read.values() for path in _globals(template)}
    minded = {path for template in read.values() for path in _minded(template)}
    return Inspection(needs=[Need(path=path, required=path not in minded) for path in sorted(named, key=shown)])


def _read(sources: Sources) -> tuple[dict[str, BoundTemplate], list[Flaw]]:
    read, flaws = {}, []
    for field, source in sources.by_field().items():
        try:
            read[field] = _parsed(field, source)
        except (LiquidError, RecursionError) as error:
            flaws.append(_flaw(field, source, error))
    return read, flaws


@lru_cache(KEPT_TEMPLATES)
def _parsed(field: str, source: str) -> BoundTemplate:
    template = _WORKSHOPS[field].from_string(source)
    for name, spans in template.analyze().filters.items():
        if name not in template.env.filters:  # Liquid itself would say so only when it comes to that place
            raise _UnknownFilter(name, spans[0].index)
    return template


class _UnknownFilter(LiquidError):
    """Found before it is used."""

    def __init__(self, name: str, index: int) -> None:
        super().__init__(f"unknown filter '{name}'", token=None)
        self.index = index


def _globals(template: BoundTemplate) -> Iterator[Path]:
    for name, uses in template.analyze().globals.items():
        if name not in GIVEN_BY_LIQUID:
            yield from filter(None, (_path(use.segments) for use in uses))


def _path(segments: Any) -> Path:
    """As far as it can be known without the values: `rows[0].name`, but of `rows[place]` only `rows`."""
    path: list[str | int] = []
    for segment in segments:
        if not isinstance(segment, str | int) or (path and segment in OF_ALL_LISTS):
            break
        path.append(segment)
    return tuple(path)


def _minded(template: BoundTemplate) -> Iterator[Path]:
    """The paths whose absence the template minds itself."""
    for expression in _expressions(template):
        if isinstance(expression, BooleanExpression):
            yield from (_path(path.path) for path in _bare(expression.expression) if isinstance(path, Lookup))
        elif isinstance(expression, FilteredExpression):
            filters = expression.filters or []
            if isinstance(expression.left, Lookup) and filters and filters[0].name == "default":
                yield _path(expression.left.path)


def _bare(expression: Any) -> Iterator[Any]:
    """What is tested for being there: the parts of `a and b or c`, but not those of `a == b`."""
    if type(expression).__name__ in ("LogicalAndExpression", "LogicalOrExpression"):
        yield from _bare(expression.left)
        yield from _bare(expression.right)
    else:
        yield expression


def _expressions(template: BoundTemplate) -> Iterator[Any]:
    context = RenderContext(template)
    waiting = list(template.nodes)
    while waiting:
        node = waiting.pop()
        yield from node.expressions()
        waiting.extend(node.children(context, include_partials=False))


# ── Filled in ─────────────────────────────────────────────────────────────────────────────────


def fill(order: Order) -> Print:
    """The mail that the sources make of the variables, or what stands in the way."""
    read, flaws = _read(order.sources)
    filled: dict[str, str] = {}
    for field, template in read.items():
        source = order.sources.by_field()[field]
        try:
            filled[field] = template.render(order.variables)
        except Exception as error:  # whatever a filter may raise at values that it was not made for
            flaws.append(_flaw(field, source, error))
    if flaws:
        return Print(flaws=flaws)
    return _finished(filled)


def _finished(filled: dict[str, str]) -> Print:
    """With its CSS at the elements, where many readers of mail look for it alone; and with a text for those that show
    no HTML."""
    html, text = filled.get("html"), filled.get("text")
    if html and "<style" in html.lower():
        try:
            html = _inliner.inline(html)
        except css_inline.InlineError as error:
            return Print(flaws=[Flaw(field="html", message=f"its CSS cannot be read: {error}")])
    if html and text is None:
        text = get_text(html, _with_links).strip("\n")
    return Print(subject=filled["subject"].strip(), text=text or None, html=html or None)


# ── What went wrong ───────────────────────────────────────────────────────────────────────────

_IN_OUR_WORDS: dict[type[BaseException], str] = {
    LoopIterationLimitError: f"loops more than {MOST_ITERATIONS} times. Give it shorter lists",
    LocalNamespaceLimitError: f"keeps more than {MOST_LOCAL_BYTES} bytes in its own variables. Assign less",
    OutputStreamLimitError: f"makes more than {MOST_OUTPUT_BYTES} bytes. Shorten it, or what it is given",
    RecursionError: "is nested too deeply. Make it flatter",
    MemoryError: "takes too much memory. Shorten it, or what it is given",
}


def _flaw(field: str, source: str, error: BaseException) -> Flaw:
    if isinstance(error, LiquidError) and isinstance(error.__cause__, RecursionError | MemoryError):
        error = error.__cause__
    words = next((words for kind, words in _IN_OUR_WORDS.items() if isinstance(error, kind)), None)
    if words is None and isinstance(error, LiquidError):
        words = str(error.message)
    return Flaw(
        field=field,
        message=words or f"cannot be filled in: {type(error).__name__}",
        line=_line(source, error),
        is_of_variables=isinstance(error, UndefinedError),
    )


def _line(source: str, error: BaseException) -> int | None:
    index = (
        error.index if isinstance(error, _UnknownFilter) else getattr(getattr(error, "token", None), "start_index", -1)
    )
    return source.count("\n", 0, index) + 1 if index >= 0 else None
