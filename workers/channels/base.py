"""The shape that all channels share.

A channel turns a claimed job into a parcel, reaches a provider over a line, offers everything
short of the point of no return, and only when told to, passes it:

    parcel = channel.prepare(claim)             # pure; Invalid when it cannot be built
    route = channel.routes(parcel)[0]           # or another of them, when that one provably did not take it
    async with channel.connect(parcel, route) as line:  # Transient when nobody answers
        await line.offer(parcel)                # refused here: provably not sent
        ...the caller commits the dot mark...
        receipt = await line.commit()           # Transient/Permanent by a clear answer,
                                                # Unanswered when none came
Leaving the `async with` without `commit` must not send anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from jobs.claims import Claim
from jobs.rates import Rate
from jobs.settlements import clean


class Refusal(Struct, frozen=True):
    """One recipient that the other side would not take, with its words."""

    address: str
    code: int
    detail: str


class Receipt(Struct, frozen=True):
    """The other side's word that it has the message."""

    provider: str
    code: int | None
    detail: str  # the reply's text

    @property
    def result(self) -> dict[str, Any]:
        """What clients read as the job's result."""
        return {"provider": self.provider, "reply": {"code": self.code, "detail": clean(self.detail)}}


class MailReceipt(Receipt, frozen=True):
    """A mail server's."""

    message_id: str
    accepted: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def result(self) -> dict[str, Any]:
        refused = [{"address": one.address, "code": one.code, "detail": clean(one.detail)} for one in self.refused]
        return {
            "message_id": self.message_id,
            **super().result,
            "accepted": list(self.accepted),
            "refused": refused,
        }


class Route(NamedTuple):
    """A way to reach somebody, which may be out of order.

    `provider` is its name for people: an alias, a destination. `rates` is how much it may be given. `circuit` is what
    is out of order when it is, if that is not the provider: a host. Without `may_fail` it never is: what a handler does
    not do is its job's failure.
    """

    channel: str
    provider: str
    rates: tuple[Rate, ...] = ()
    circuit: str | None = None
    may_fail: bool = True

    @property
    def key(self) -> str:
        """By which all workers know it."""
        return f"{self.channel}:{self.circuit or self.provider}"


class Line(Protocol):
    """An open way to one provider, good for one parcel."""

    provider: str

    async def offer(self, parcel: Any) -> None:
        """Everything short of the point of no return."""

    async def commit(self) -> Receipt:
        """Pass the point of no return and wait for the answer."""


class Channel(Protocol):
    """One way of reaching people.

    `may_be_repeated`: to do it twice harms nobody, as with what only computes. There is no point of no return then, no
    mark and no unknown: what a worker died of is done again, and silence is Transient (docs/decisions/0008).
    """

    may_be_repeated: bool

    def prepare(self, claim: Claim) -> Any:
        """The parcel that goes on the wire. Pure, no I/O; raises Invalid."""

    def routes(self, parcel: Any) -> Sequence[Route]:
        """Where the parcel goes, and then those that may stand in, in their order; at least one. Raises Transient."""

    def connect(self, parcel: Any, route: Route) -> AbstractAsyncContextManager[Line]:
        """A line by this route."""

    async def close(self) -> None:
        """Give back every connection."""
