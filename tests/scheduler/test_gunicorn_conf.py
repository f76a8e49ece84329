"""The API under gunicorn with several processes: one /metrics, and an orderly end."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import until

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = 40

pytestmark = pytest.mark.slow


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Two processes on a port of their own; temporary files in tmp_path, so that the test sees them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--config", "scheduler/gunicorn_conf.py", "--bind", address]
    variables = {**os.environ, "WEB_CONCURRENCY": "2", "TMPDIR": str(tmp_path), "LOG_FORMAT": "json"}
    variables["PYTHONWARNINGS"] = "ignore"  # tests have no collected static files
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)
    yield process, f"http://{address}"
    process.kill()
    process.communicate()


def test_every_process_tells_what_all_of_them_counted(api: tuple[subprocess.Popen[str], str]) -> None:
    _, url = api
    until(lambda: _is_live(url), within=60)
    before = _counted(url)

    for _ in range(REQUESTS):
        httpx.get(f"{url}/health/live")  # a connection each: both processes take some

    for asked in range(8):
        assert _counted(url) == before + REQUESTS + asked + 1  # and the questions themselves


def test_sigterm_ends_it_in_order_and_leaves_nothing(api: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, url = api
    until(lambda: _is_live(url), within=60)
    assert list(tmp_path.glob("sendonce-api-metrics-*/*.db"))

    process.terminate()
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert not list(tmp_path.glob("sendonce-api-metrics-*"))
    assert all(line.startswith("{") for line in errors.splitlines()), errors


def _is_live(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health/live").status_code == 200
    return False


def _counted(url: str) -> int:
    """All GET requests that began, over all processes."""
    text = httpx.get(f"{url}/metrics").text
    found = re.search(r"^django_http_requests_before_middlewares_total (\d+)", text, re.M)
    assert found, text[:500]
    return int(found[1])
