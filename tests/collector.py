"""An OpenTelemetry collector for tests: OTLP over HTTP, as its protocol buffers have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.receiver import Receiver, receiver

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")


@dataclass(frozen=True)
class SeenSpan:
    """One span, as it came over the wire; ids in hexadecimal digits."""

    service: str
    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str  # empty: the first of its trace
    status: str
    events: int
    attributes: dict[str, Any] = field(hash=False)


class Collector:
    """What a receiver heard, read."""

    def __init__(self, side: Receiver) -> None:
        self.side = side
        self.url = side.url

    @property
    def spans(self) -> list[SeenSpan]:
        return [span for heard in list(self.side.heard) if heard.path == "/v1/traces" for span in _read(heard.body)]

    def named(self, name: str) -> list[SeenSpan]:
        return [span for span in self.spans if span.name == name]

    def children(self, parent: SeenSpan) -> list[SeenSpan]:
        return [span for span in self.spans if span.parent_id == parent.id]


def _read(body: bytes) -> Iterator[SeenSpan]:
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _attributes(of_process.resource.attributes)["service.name"]
        for span in (span for scope in of_process.scope_spans for span in scope.spans):
            yield SeenSpan(
                service=service,
                name=span.name,
                kind=KINDS[span.kind],
                trace_id=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                status=STATUSES[span.status.code],
                events=len(span.events),
                attributes=_attributes(span.attributes),
            )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collector() -> Iterator[Collector]:
    with receiver() as side:
        yield Collector(side)
