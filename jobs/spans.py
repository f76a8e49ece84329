"""Spans: how all of them are made, and where they go. Ground; imported only where tracing is on (tracing.py).

Names and attributes are those of OpenTelemetry's semantic conventions for messaging
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/); what it has no name for is `sendonce.…`.
The destination is the type of job: what a client addresses, and a channel serves. No attribute holds a payload, an
address or a secret, and an error is told by its kind, never by its words, which may quote any of them.

The batch processor has a queue that is bounded and a thread that sends: whoever ends a span waits for nobody, and what
a slow collector cannot take is dropped. How it does so is configured by OpenTelemetry's own variables (OTEL_BSP_…,
OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …), which the library reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobs.conf import tunables
from jobs.errors import DeliveryError, Refused

F = TypeVar("F", bound=Callable[..., Any])

SYSTEM = {"messaging.system": "sendonce"}
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
CONVERSATION_ID = "messaging.message.conversation_id"
BATCH_COUNT = "messaging.batch.message_count"
TRACES_PATH = "/v1/traces"  # https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp
FLUSH_SECONDS = 3.0  # for what is still queued when a process ends; a collector that is away gets no more

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("sendonce")  # of whatever provider there will be: makes nothing before `exporting`
_w3c = TraceContextTextMapPropagator()


# ── To the collector ──────────────────────────────────────────────────────────────────────────


@contextmanager
def exporting(role: str) -> Iterator[None]:
    """See tracing.exporting. Ends within FLUSH_SECONDS, whatever the collector does; once in a process."""
    conf = tunables()
    exporter = OTLPSpanExporter(endpoint=conf.otlp_endpoint.rstrip("/") + TRACES_PATH)
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: conf.service_name or f"sendonce-{role}"}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        _flush(provider, exporter)


def _flush(provider: TracerProvider, exporter: OTLPSpanExporter) -> None:
    """The provider would wait for half a minute. Once the exporter is shut down it tries nothing again, and its
    threads, which are no reason for a process to live on, end with the request that is under way."""
    flushing = threading.Thread(target=provider.shutdown, name="flush-spans", daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    if flushing.is_alive():
        log.warning("spans_dropped", waited_seconds=FLUSH_SECONDS)
        exporter.shutdown()


# ── Contexts ──────────────────────────────────────────────────────────────────────────────────


def traceparent() -> str | None:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent")


def context_of(carrier: Mapping[str, str]) -> Context:
    """That of `traceparent` and `tracestate`, if they are there and well-formed; else one without a parent."""
    return _w3c.extract(carrier, context=Context())


# ── Spans ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    attributes: Mapping[str, str | int] | None = None,
) -> Iterator[Span]:
    """A span, current while it lasts; of the current one, unless it has another parent. What is raised inside fails
    it."""
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            fail(made, _kind(error))
            raise


def fail(failed: Span, kind: str) -> None:
    """By a word of a bounded set, as `error.type` wants it."""
    failed.set_attribute(ERROR_TYPE, kind)
    failed.set_status(Status(StatusCode.ERROR, kind))


def _kind(error: BaseException) -> str:
    match error:
        case DeliveryError():
            return error.kind
        case Refused():
            return error.code
        case _:
            return type(error).__name__


def sends(accept: F) -> F:
    """See tracing.sends."""

    @wraps(accept)
    def traced(asked: Any, **rest: Any) -> Any:
        is_batch = isinstance(asked, Sequence)
        types = {request.type.name for request in (asked if is_batch else [asked])}
        attributes: dict[str, str | int] = {**SYSTEM, OPERATION_NAME: "send", OPERATION_TYPE: "send"}
        attributes[CONVERSATION_ID] = rest["correlation_id"]
        if is_batch:
            attributes[BATCH_COUNT] = len(asked)
        if len(types) == 1:
            (attributes[DESTINATION],) = types
        name = f"send {attributes[DESTINATION]}" if DESTINATION in attributes else "send"
        with span(name, kind=SpanKind.PRODUCER, attributes=attributes) as sending:
            answer = accept(asked, **rest)
            if not is_batch:
                sending.set_attribute(MESSAGE_ID, str(answer.job_id))
            return answer

    return cast(F, traced)
