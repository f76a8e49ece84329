"""Health check of a container: `probe.py PORT PATH` ends with 0 when a process answers there.

Any answer below 500 counts: a 400 for a host name that ALLOWED_HOSTS lacks still shows that someone is at home. Of
any other, `docker inspect` shows what it said. It runs every few seconds beside every process, so it imports next to
nothing.
"""

import socket
import sys

PATIENCE_SECONDS = 5


def ask(port: int, path: str) -> tuple[int, str]:
    """The status and the body; HTTP/1.0, so that the server ends both by closing."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        said = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    head, _, body = said.partition("\r\n\r\n")  # HTTP/1.1 200 OK …
    return int(head.split()[1]), body


if __name__ == "__main__":
    try:
        status, body = ask(int(sys.argv[1]), sys.argv[2])
    except (OSError, IndexError, ValueError) as error:
        sys.exit(f"no answer: {error}")
    sys.exit(0 if status < 500 else f"answered {status}: {body}")
