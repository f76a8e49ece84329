"""Health check of a container: `probe.py PORT PATH [METHOD]` ends with 0 when a process answers there.

Any answer below 500 counts: a 400 for a host name that ALLOWED_HOSTS lacks still shows that someone is at home.
It runs every few seconds beside every process, so it imports next to nothing.
"""

import socket
import sys

PATIENCE_SECONDS = 5


def status(port: int, path: str, method: str) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        line = connection.recv(100)  # HTTP/1.1 200 OK
    return int(line.split()[1])


if __name__ == "__main__":
    try:
        answer = status(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "GET")
    except (OSError, IndexError, ValueError) as error:
        sys.exit(f"no answer: {error}")
    sys.exit(0 if answer < 500 else f"answered {answer}")
