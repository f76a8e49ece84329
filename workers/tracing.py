"""Trips that are traced: the same steps (delivery.py), each in a span.

    process email             of the job's acceptance: every attempt is a child of the same `send` span
    ├── prepare
    ├── connect               the envelope may wait here for a free connection
    ├── offer
    ├── mark                  the wait for the commit that it shares with others
    └── commit                the dot, and the wait for the reply

Imported only where tracing is on. The conventions let a consumer have the message's context for a parent, and not only
for a link, where it processes one message at a time
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/#consumer-spans): then one trace has it all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from opentelemetry.trace import Span, SpanKind

from jobs import spans
from jobs.claims import Claim
from jobs.errors import Postponed
from jobs.settlements import Settlement
from jobs.states import Outcome
from workers.channels.base import Channel, Line, Receipt, Route
from workers.delivery import Delivery

TYPE = "sendonce.job.type"
ATTEMPT = "sendonce.attempt"
PROVIDER = "sendonce.provider"
OUTCOME = "sendonce.outcome"
REPLY_CODE = "sendonce.reply.code"
REASON = "sendonce.reason"


class TracedDelivery(Delivery):
    """One trip of one claim, seen."""

    _span: Span

    async def run(self) -> None:
        claim = self.claim
        with spans.span(
            f"process {claim.type}",
            kind=SpanKind.CONSUMER,
            parent=spans.context_of({"traceparent": claim.traceparent} if claim.traceparent else {}),
            attributes={
                **spans.SYSTEM,
                spans.OPERATION_NAME: "process",
                spans.OPERATION_TYPE: "process",
                spans.DESTINATION: claim.type,
                spans.MESSAGE_ID: str(claim.job_id),
                spans.CONVERSATION_ID: claim.correlation_id,
                "messaging.client.id": str(self.worker),
                TYPE: claim.type,
                ATTEMPT: claim.attempt,
            },
        ) as self._span:
            await super().run()

    # ── Its steps ─────────────────────────────────────────────────────────────────────────────

    def _channel(self) -> Channel:
        return cast(Channel, TracedChannel(super()._channel()))

    async def _mark(self, provider: str) -> None:
        with spans.span("mark"):
            await super()._mark(provider)

    # ── Its end ───────────────────────────────────────────────────────────────────────────────

    def _settle(self, settlement: Settlement) -> None:
        super()._settle(settlement)
        self._span.set_attribute(OUTCOME, settlement.outcome.value)
        if settlement.provider:
            self._span.set_attribute(PROVIDER, settlement.provider)
        if settlement.code is not None:
            self._span.set_attribute(REPLY_CODE, settlement.code)
        if settlement.outcome is not Outcome.SENT:
            spans.fail(self._span, settlement.kind or "error")

    def _postpone(self, error: Postponed) -> None:
        super()._postpone(error)
        self._span.set_attribute(OUTCOME, "postponed")
        self._span.set_attribute(REASON, error.kind)

    def _step_back(self, event: str) -> None:
        super()._step_back(event)
        self._span.set_attribute(OUTCOME, event)
        spans.fail(self._span, event)

    def _hand_back(self) -> None:
        self._span.set_attribute(OUTCOME, "handed_back")  # unless nobody can know, which `_settle` says
        super()._hand_back()


class TracedChannel:
    """A channel, each of whose steps is a span; whatever else it has is its own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def prepare(self, claim: Claim) -> Any:
        with spans.span("prepare"):
            return self._channel.prepare(claim)

    @asynccontextmanager
    async def connect(self, parcel: Any, route: Route) -> AsyncIterator[Line]:
        async with AsyncExitStack() as stack:
            with spans.span("connect", kind=SpanKind.CLIENT) as connecting:
                line = await stack.enter_async_context(self._channel.connect(parcel, route))
                connecting.set_attribute(PROVIDER, line.provider)
            yield cast(Line, TracedLine(line))


class TracedLine:
    """A line, likewise."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    async def offer(self, parcel: Any) -> None:
        with spans.span("offer", kind=SpanKind.CLIENT, attributes={PROVIDER: self._line.provider}):
            await self._line.offer(parcel)

    async def commit(self) -> Receipt:
        with spans.span("commit", kind=SpanKind.CLIENT, attributes={PROVIDER: self._line.provider}) as committing:
            receipt = await self._line.commit()
            if receipt.code is not None:
                committing.set_attribute(REPLY_CODE, receipt.code)
            return receipt
