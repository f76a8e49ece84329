"""The two services that `ekyc-verification` asks, A and B, each on a port of its own:
`python -m scheduler.embedded.demo.services --ports 8101 8102`.

A: GET /identity/{user_id}. B: GET /sanctions/{user_id}. User 404 is known to neither, and for user 503 both are down.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWERS: dict[str, dict[str, Any]] = {
    "identity": {"service": "A", "matches": True, "document": "passport"},
    "sanctions": {"service": "B", "hits": 0},
}
PLAYED = {"404": 404, "503": 503}


class Handler(BaseHTTPRequestHandler):
    """Both services: which one answers, the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, _, rest = self.path.partition("/")
        what, _, user = rest.partition("/")
        status = PLAYED.get(user, 200) if what in ANSWERS and user.isdecimal() else 404
        told = ANSWERS[what] | {"user_id": int(user)} if status == 200 else {"status": status}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the jobs say what they heard."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ports", type=int, nargs=2, required=True, help="of A and of B, on 127.0.0.1")
    servers = [ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in parser.parse_args().ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    for server in servers:
        server.shutdown()


if __name__ == "__main__":
    main()
