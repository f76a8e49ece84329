"""Webhooks: an event is posted, signed, to a receiver that knows it again by its id (https://www.standardwebhooks.com).

A receiver that is asked again, because nobody knows whether it heard the first time, gets the same `webhook-id`; so a
webhook may be repeated, and there is no unknown (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from jobs import networks, payloads
from jobs.claims import Claim
from jobs.conf import Tunables
from jobs.errors import DeliveryError, Permanent, Transient
from jobs.settlements import GONE
from jobs.webhooks import WebhookPayload
from workers import retry_after
from workers.channels.addressee import address_of
from workers.channels.base import Receipt, Route

if TYPE_CHECKING:  # else loaded by who has a webhook to post: 8 MB
    import httpcore

EXCERPT_BYTES = 2_000  # of an answer
CONNECTIONS = 100  # at once, of one worker process
IDLE_SECONDS = 30.0
GOES_ON = frozenset(range(200, 300))


class Call(Struct, frozen=True):
    """What is posted, and where."""

    url: str
    headers: dict[str, str]
    body: bytes
    destination: str
    route: Route


class WebhookLine:
    """A way to one receiver, for one call."""

    def __init__(self, channel: WebhookChannel, call: Call) -> None:
        self.provider = call.destination
        self._channel = channel
        self._call = call

    async def offer(self, parcel: Call) -> None:
        """Nothing is said before all is said."""

    async def commit(self) -> Receipt:
        """Post it. Raises Transient for whatever may be otherwise later, Permanent for what will not."""
        status, headers, excerpt = await self._channel.post(self._call)
        if status in GOES_ON:
            return Receipt(provider=self.provider, code=status, detail=excerpt)
        raise _refusal(status, headers, excerpt)


class WebhookChannel:
    """All webhooks of one worker process: connections that are kept for a while, no redirects, no proxies."""

    may_be_repeated = True

    def __init__(self, conf: Tunables) -> None:
        self._conf = conf
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    def prepare(self, claim: Claim) -> Call:
        payload = payloads.from_stored(claim.type, claim.payload)  # raises Invalid
        assert isinstance(payload, WebhookPayload)
        address = address_of(claim)
        return Call(
            url=address.url,
            headers=_headers(claim, body := _body(claim, payload), secret=address.secret or ""),
            body=body,
            destination=payload.destination,
            # Each owner's own: one whose calls fail must not keep others from the same host.
            route=Route("webhook", payload.destination, circuit=f"{claim.owner_id}:{_host(address.url)}"),
        )

    def routes(self, parcel: Call) -> tuple[Route]:
        return (parcel.route,)

    @asynccontextmanager
    async def connect(self, parcel: Call, route: Route) -> AsyncIterator[WebhookLine]:
        yield WebhookLine(self, parcel)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()

    async def post(self, call: Call) -> tuple[int, Mapping[str, str], str]:
        """Status, headers (lower case) and the beginning of the answer. Raises Transient and Permanent."""
        import httpcore

        from workers.public_network import AddressRefused

        patience = {"connect": self._conf.connect_timeout_seconds, "pool": self._conf.http_timeout_seconds}
        pool, headers = self._pool(urlsplit(call.url).scheme), list(call.headers.items())
        try:
            async with (
                asyncio.timeout(self._conf.http_timeout_seconds),
                pool.stream(
                    "POST", call.url, headers=headers, content=call.body, extensions={"timeout": patience}
                ) as response,
            ):
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                return response.status, told, await _excerpt(response)
        except AddressRefused as error:
            raise Permanent(str(error), kind="address_refused") from None
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise Transient(str(error) or "It did not answer in time.", kind="timeout") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise Transient(f"It cannot be reached: {error}", kind="unreachable") from None

    def _pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        """In the clear only to networks that this installation has opened."""
        import httpcore

        from workers.public_network import PublicNetwork

        if scheme not in self._pools:
            reach = networks.may_be_reached if scheme == "https" else networks.is_opened
            self._pools[scheme] = httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(),
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=PublicNetwork(reach),
            )
        return self._pools[scheme]


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _body(claim: Claim, payload: WebhookPayload) -> bytes:
    """The time is the job's own, as its id has it (UUIDv7): the same on each attempt."""
    happened = datetime.fromtimestamp((claim.job_id.int >> 80) / 1000, UTC)
    return msgspec.json.encode({"type": payload.event, "timestamp": happened, "data": payload.data})


def _headers(claim: Claim, body: bytes, *, secret: str) -> dict[str, str]:
    from standardwebhooks.webhooks import Webhook

    id, at = str(claim.job_id), datetime.now(UTC)
    return {
        "content-type": "application/json",
        "user-agent": "Sendonce",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body.decode()),
        "x-correlation-id": claim.correlation_id,
    }


async def _excerpt(response: Any) -> str:
    """The answer's beginning, as far as it comes: what matters is known already."""
    read = b""
    try:
        async for part in response.aiter_stream():
            read += part
            if len(read) >= EXCERPT_BYTES:
                break
    except Exception:
        pass
    return read[:EXCERPT_BYTES].decode("utf-8", "replace")


def _refusal(status: int, headers: Mapping[str, str], excerpt: str) -> DeliveryError:
    told = f"HTTP {status}: {excerpt}" if excerpt else f"HTTP {status}, without a word."
    if status == 410:
        return Permanent(told, kind=GONE, code=status)
    if 300 <= status < 400:
        told = f"HTTP {status} to another address, which is not followed: {headers.get('location', '')}"
    return Transient(
        told, kind=f"http_{status // 100}xx", code=status, retry_after=retry_after.seconds(headers.get("retry-after"))
    )
