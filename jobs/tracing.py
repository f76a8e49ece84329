"""Whether spans are made, and the little that the rest of the house asks of them. Ground.

Tracing is switched on by OTEL_EXPORTER_OTLP_ENDPOINT, for the whole life of a process. Without it nothing here does
anything, and we import nothing of OpenTelemetry: that is in spans.py, which only this module and the makers of spans
import (workers/tracing.py, scheduler/tracing.py). redis-py looks whether its metrics are installed, and makes none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from jobs.conf import tunables

F = TypeVar("F", bound=Callable[..., Any])


def is_on() -> bool:
    return bool(tunables().otlp_endpoint)


def exporting(role: str) -> AbstractContextManager[None]:
    """As long as this lasts, the spans of this process go to the collector. `role`: api, worker or clock.

    To be entered in the process that makes them, after any fork: it has a thread of its own.
    """
    if not is_on():
        return nullcontext()
    from jobs import spans

    return spans.exporting(role)


def sends(accept: F) -> F:
    """`accept`, one that lets in the request or the requests that it is given first, in a `send` span of its own: the
    one that the trips of their jobs have for a parent. Without tracing, `accept` itself."""
    if not is_on():
        return accept
    from jobs import spans

    return spans.sends(accept)


def traceparent() -> str | None:
    """Of the span that this is called in, as W3C Trace Context writes it (§3.2); None outside of any, or without
    tracing."""
    if not is_on():
        return None
    from jobs import spans

    return spans.traceparent()
