"""Structured logs: one event, one line; colours at a terminal, JSON elsewhere.

Addresses, bodies and tokens never appear; ids always do. What a request or a trip binds
(`correlation_id`, `about`, …) is merged into each of its lines.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import traceback
from typing import Any

import psycopg
import structlog
from django.db.utils import DatabaseError, InterfaceError

LONGEST_CHAIN = 10

SECRETIVE = ("/suppressions/", "/unsubscribe/")  # behind them stand addresses and tokens


def configure_logging(level: str, fmt: str, *, is_traced: bool = False) -> None:
    """Send structlog and the standard library's loggers through the same processors to stderr."""
    coloured = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_subject,
        *([_trace_namer()] if is_traced else []),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(told),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),  # below it, a call costs next to nothing
        cache_logger_on_first_use=True,
    )
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if coloured else structlog.processors.JSONRenderer()
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            # Their lines name addresses and paths with query strings, or say what ours say better.
            "loggers": {
                "mail.log": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "asyncio": {"level": "WARNING"},
            },
        }
    )


def name_subject(logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """`about` is somebody whose `names` stand in the line: nobody writes them out for lines that nobody reads."""
    about = event.pop("about", None)
    return event if about is None else {**about.names, **event}


def _trace_namer() -> structlog.types.Processor:
    """Lines that are written in a span carry its trace's id; those about a job, in whatever thread, have that one's."""
    from opentelemetry import trace  # loaded only where tracing is on

    def name_trace(logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event.setdefault("trace_id", trace.format_trace_id(context.trace_id))
        return event

    return name_trace


def told(exc_info: Any) -> str:
    """A traceback without values: no local variables, and of PostgreSQL's errors only what kind they are.

    Their DETAIL and CONTEXT quote rows, and so addresses and bodies.
    """
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    while error is not None and len(parts) < LONGEST_CHAIN:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{_named(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich came from:\n".join(parts)


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, psycopg.Error):
        return f"{name}: sqlstate={error.sqlstate} constraint={error.diag.constraint_name}"
    if isinstance(error, DatabaseError | InterfaceError):
        return name
    return f"{name}: {error}"


def shown_path(path: str) -> str:
    """A request's, as it may be told: where somebody's address or token stands in it, it is cut before that."""
    return next((f"{start}…" for start in SECRETIVE if path.startswith(start)), path)
