"""Health check of a container: `probe.py URL [METHOD]` ends with 0 when a process answers there.

Any answer below 500 counts: a 400 for a host name that ALLOWED_HOSTS lacks still shows that someone is at home.
Standard library only, so that `python -IS` starts it in a few milliseconds of CPU.
"""

import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

PATIENCE_SECONDS = 4


def status(url: str, method: str) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)
    connection.request(method, parts.path or "/")
    return connection.getresponse().status


if __name__ == "__main__":
    try:
        answer = status(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "GET")
    except OSError as error:
        sys.exit(f"no answer: {error}")
    sys.exit(0 if answer < 500 else f"answered {answer}")
