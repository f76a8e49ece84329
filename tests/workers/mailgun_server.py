"""Mailgun's Events API on this machine, in the shape that its documentation gives.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/events, and what its users report of it: a
Message-ID asked for with its angle brackets finds other people's events (mailgun/mailgun.js#296).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

DOMAIN, KEY = "mg.example.org", "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"


@dataclass
class Mailgun:
    """The provider: its book of events, newest last, and what it does instead of answering."""

    events: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    instead: tuple[int, dict[str, str], bytes] | None = None  # status, headers, body
    is_silent: threading.Event | None = None  # set when it may answer
    is_waiting: threading.Event = field(default_factory=threading.Event)  # somebody asked it meanwhile
    page_size: int | None = None
    base: str = ""

    def note(self, event: str, message_id: str, *, at: float = 1_521_472_262.5, **facts: Any) -> None:
        """An event as Mailgun writes it: the Message-ID without its angle brackets."""
        headers = {"to": "ann@example.org", "message-id": message_id.strip("<>"), "subject": "Hello"}
        self.events.append(
            {
                "event": event,
                "id": f"event-{len(self.events)}",
                "timestamp": at,
                "log-level": "info",
                "method": "SMTP",
                "recipient": "ann@example.org",
                "message": {"headers": headers, "attachments": [], "size": 69},
                "flags": {"is-authenticated": True, "is-test-mode": False},
            }
            | facts
        )

    @property
    def url(self) -> str:
        """For EVIDENCE_SOURCES."""
        return self.base.replace("http://", f"mailgun+http://api:{KEY}@")

    def page(self, query: dict[str, str], number: int) -> dict[str, Any]:
        found = [event for event in reversed(self.events) if _matches(event, query)]
        size = min(self.page_size or 300, int(query.get("limit", "100")))
        next_, previous = (f"{self.base}/events/page{max(n, 0)}?{urlencode(query)}" for n in (number + 1, number - 1))
        return {"items": found[number * size :][:size], "paging": {"next": next_, "previous": previous}}


def _matches(event: dict[str, Any], query: dict[str, str]) -> bool:
    wanted = query["message-id"]
    is_his = wanted.startswith("<") or event.get("message", {}).get("headers", {}).get("message-id") == wanted
    return is_his and event["event"] in query.get("event", event["event"]).split(" OR ")


@contextmanager
def mailgun() -> Iterator[Mailgun]:
    provider = Mailgun()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if provider.is_silent:
                provider.is_waiting.set()
                provider.is_silent.wait(30)
            status, headers, body = provider.instead or self._answer()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answer(self) -> tuple[int, dict[str, str], bytes]:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            provider.asked.append(query)
            _, _, page = parts.path.partition("/events")
            if not parts.path.startswith(f"/v3/{DOMAIN}/events"):
                return 404, {}, b'{"message":"Domain not found"}'
            if self.headers["Authorization"] != "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode():
                return 401, {}, b"Forbidden"
            found = provider.page(query, int(page.removeprefix("/page") or 0))
            return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.base = f"http://127.0.0.1:{server.server_port}/v3/{DOMAIN}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            if provider.is_silent:
                provider.is_silent.set()
            server.shutdown()
            thread.join()
