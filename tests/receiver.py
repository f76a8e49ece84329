"""An HTTP server that plays the other side of webhooks and notifications: it keeps what it hears, answers as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any


@dataclass(frozen=True)
class Heard:
    """One request."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass
class Receiver:
    """`answers` are (status, headers, body), given in order; the last one again and again. None: hang up, silently."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes] | None] = field(default_factory=lambda: [(200, {}, b"ok")])
    hold: threading.Event = field(default_factory=threading.Event)
    holds: bool = False  # answers wait for `hold`

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def receiver(*, tls: SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Listens on a free port for as long as the block lasts."""
    side = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            side.heard.append(Heard(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if side.holds:
                side.hold.wait(30)
            answer = side.answer()
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...  # of those who hang up

    server = Quiet((host, 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    side.url = f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield side
    finally:
        side.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
