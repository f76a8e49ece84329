"""Mailgun's Events API: GET /v3/{domain}/events, with the domain's API key.

From its documentation (https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/events):

- A mail that came over SMTP keeps its Message-ID, which stands in the events without angle brackets. Asked with them,
  the filter finds other people's messages, so every event is looked at here again.
- Without `begin` the events are told from now into the past, as far as they are kept (1 to 30 days, by plan).
- `paging.next` is always given; an empty page is the last one.
- Events come into the store late and out of order (half an hour is the documented margin): none there proves nothing.
- 401 and 403: the key. 404: the domain, perhaps in the other region. 429: too often. 5xx: later.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote

import httpx
import msgspec

from workers.evidence.base import Evidence, NoAnswer
from workers.providers import is_loopback

PROOF: Final = ("accepted", "delivered")
PAGE = 300
MOST_PAGES = 5
REFUSED_REST_SECONDS = 600.0
BUSY_REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 3600.0
WRONG: Final = {401: "the key", 403: "the key", 404: "the domain, which may be in the other region,"}
DOMAIN: Final = re.compile(r"/v\d/[^/]+")
EXAMPLE: Final = "mailgun+https://api:KEY@api.mailgun.net/v3/mg.example.org (in Europe: api.eu.mailgun.net)"


class Message(msgspec.Struct):
    headers: dict[str, Any] = {}


class Event(msgspec.Struct):
    event: str
    timestamp: float
    message: Message = msgspec.field(default_factory=Message)


class Paging(msgspec.Struct):
    next: str = ""


class Page(msgspec.Struct):
    items: list[Event]
    paging: Paging = msgspec.field(default_factory=Paging)


class MailgunEvents:
    """The events of one sending domain; `base` is its URL, `https://…/v3/{domain}`. The key shows in no repr."""

    name = "mailgun"

    def __init__(self, base: str, *, key: str, timeout_seconds: float = 10.0) -> None:
        self._events_url = f"{base}/events"
        self._auth = httpx.BasicAuth("api", key)
        self._timeout = timeout_seconds
        self._tls = ssl.create_default_context()

    @classmethod
    def from_url(cls, parts: SplitResult) -> MailgunEvents:
        """Raises ValueError with the remedy, which shows nothing of the URL."""
        scheme, path = parts.scheme.removeprefix("mailgun+"), parts.path.rstrip("/")
        if parts.username != "api" or not parts.password:
            raise ValueError(f"the URL needs the user api and the API key, percent-encoded. Example: {EXAMPLE}")
        if not parts.hostname or not DOMAIN.fullmatch(path) or parts.query or parts.fragment:
            raise ValueError(f"the URL ends with the sending domain. Example: {EXAMPLE}")
        if scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"a key travels encrypted; write mailgun+https. Example: {EXAMPLE}")
        host = parts.netloc.rpartition("@")[2]
        return cls(f"{scheme}://{host}{path}", key=unquote(parts.password))

    async def was_accepted(self, message_id: str) -> Evidence:
        """True on an event that proves it, else None; never False."""
        wanted = message_id.strip("<>")
        query = {"message-id": wanted, "event": " OR ".join(PROOF), "ascending": "no", "limit": str(PAGE)}
        url = httpx.URL(self._events_url, params=query)
        async with httpx.AsyncClient(auth=self._auth, timeout=self._timeout, verify=self._tls) as client:
            for _ in range(MOST_PAGES):
                page = await self._page(client, url)
                if proof := [event for event in page.items if _proves(event, wanted)]:
                    return Evidence(True, _told(proof))
                if not page.items or not page.paging.next.startswith(self._events_url):
                    break  # the last page; or one elsewhere, where the key must not go
                url = httpx.URL(page.paging.next)
        return Evidence(None, "No event of this message so far; they may come late.")

    async def _page(self, client: httpx.AsyncClient, url: httpx.URL) -> Page:
        try:
            answer = await client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(f"Mailgun could not be asked: {type(error).__name__}.") from error
        status = answer.status_code
        if status in WRONG:
            detail = f"Mailgun refused {WRONG[status]} in EVIDENCE_SOURCES ({status})."
            raise NoAnswer(detail, rest_seconds=REFUSED_REST_SECONDS, is_setting_wrong=True)
        if status != 200:
            raise NoAnswer(f"Mailgun answered {status}.", rest_seconds=_retry_after(answer))
        try:
            return msgspec.json.decode(answer.content, type=Page)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NoAnswer("Mailgun's answer could not be read.", rest_seconds=BUSY_REST_SECONDS) from error


def _proves(event: Event, wanted: str) -> bool:
    return event.event in PROOF and str(event.message.headers.get("message-id", "")).strip("<>") == wanted


def _told(proof: list[Event]) -> str:
    first = min(proof, key=lambda event: event.timestamp)
    at = datetime.fromtimestamp(first.timestamp, UTC).isoformat(timespec="seconds")
    return f"Event {first.event!r} at {at}."


def _retry_after(answer: httpx.Response) -> float:
    """Seconds; a date (RFC 9110 §10.2.3) is not worth reading here."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), LONGEST_REST_SECONDS) if text.isdecimal() else BUSY_REST_SECONDS
