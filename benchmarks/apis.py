"""Rounds in which clients post to an API: ours, and what Django and REST framework give by themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import httpx
import psycopg

from benchmarks.drains import Wrong
from benchmarks.ground import BOOT_SECONDS, NO_SERVER, ROOT, Ground
from benchmarks.machine import Meter
from benchmarks.rounds import Figures
from scheduler.embedded.child import free_port, is_port_open
from scheduler.server import HEAD_BYTES

USERNAME, PASSWORD = "bench", "correct horse battery staple"
THREADS, CONNECTIONS = 8, 8
OURS = (sys.executable, "-m", "scheduler.server", "--processes", "1", "--threads", str(THREADS))
STOCK = (
    *(sys.executable, "-m", "granian", "benchmarks.stock.wsgi:application", "--interface", "wsgi", "--http", "1"),
    *("--no-ws", "--workers", "1", "--blocking-threads", str(THREADS), "--blocking-threads-idle-timeout", "600"),
    *("--http1-buffer-size", str(HEAD_BYTES), "--log-level", "warning"),
)
OPEN_DOOR = {"SIGNUP_OPEN": "true", "ACCESS_TOKEN_MINUTES": "600"}


def ours(ground: Ground, *, seconds: float, bulk: int = 0, is_replay: bool = False) -> Figures:
    """Requests a second to POST /jobs, or jobs a second to POST /jobs/batch with so many in each."""
    with ground.fresh_database(migrated=True) as database:
        env = ground.our_env(database, smtp_port=NO_SERVER) | OPEN_DOOR
        with ours_serving(ground, env) as (url, pids):
            token = sign_up(url)
            body = ("--body", "bulk", "--bulk", str(bulk)) if bulk else ("--body", "replay" if is_replay else "single")
            path = "/jobs/batch" if bulk else "/jobs"
            _load(ground, f"{url}{path}", token, *body, "--seconds", "1")  # warm
            meter = Meter(pids)
            found = _load(ground, f"{url}{path}", token, *body, "--seconds", str(seconds))
            return _figures(ground, found, meter, database, table="jobs_job", bulk=bulk, is_replay=is_replay)


def stock(ground: Ground, path: str, *, seconds: float) -> Figures:
    """Requests a second to the same insert behind Django's and REST framework's own means."""
    with ground.fresh_database(migrated=False) as database:
        env = ground.our_env(database, smtp_port=NO_SERVER) | {
            "BENCH_DATABASE_URL": ground.postgres.url(database),
            "DJANGO_SETTINGS_MODULE": "benchmarks.stock.settings",
        }
        ground.finish("stock, lay", [sys.executable, "-m", "benchmarks.stock.lay", USERNAME, PASSWORD], env=env)
        with stock_serving(ground, env) as (url, pids):
            credentials = {"username": USERNAME, "password": PASSWORD}
            token = httpx.post(f"{url}/login/", json=credentials).raise_for_status().json()["access"]
            _load(ground, f"{url}/{path}", token, "--seconds", "1")  # warm
            meter = Meter(pids)
            found = _load(ground, f"{url}/{path}", token, "--seconds", str(seconds))
            return _figures(ground, found, meter, database, table="stock_message")


def sign_up(url: str) -> str:
    """An access token of our API, where OPEN_DOOR is in its environment."""
    answer = httpx.post(f"{url}/signup", json={"username": USERNAME, "password": PASSWORD}).raise_for_status()
    token: str = answer.json()["access_token"]
    return token


def ours_serving(ground: Ground, env: Mapping[str, str]) -> AbstractContextManager[tuple[str, dict[str, int]]]:
    port = free_port()
    return _serving(ground, "API", [*OURS, "--bind", f"127.0.0.1:{port}"], env, port)


def stock_serving(ground: Ground, env: Mapping[str, str]) -> AbstractContextManager[tuple[str, dict[str, int]]]:
    """The same server, with as many processes and threads as ours."""
    port = free_port()
    return _serving(ground, "stock", [*STOCK, "--host", "127.0.0.1", "--port", str(port)], env, port)


@contextmanager
def _serving(
    ground: Ground, name: str, command: list[str], env: Mapping[str, str], port: int
) -> Iterator[tuple[str, dict[str, int]]]:
    with ground.running(name, command, env=env) as child:
        child.wait_until(lambda: is_port_open(port), within=BOOT_SECONDS, watch=ground.watch)
        yield f"http://127.0.0.1:{port}", {"API": child.pid, "PostgreSQL": ground.postgres.pid}


def _load(ground: Ground, url: str, token: str, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.http_load", url, "--token", token, *options]
    log = ground.folder / "logs" / "load.log"
    log.unlink(missing_ok=True)
    ground.finish("load", [*command, "--connections", str(CONNECTIONS)], env={"PYTHONPATH": str(ROOT)})
    found = json.loads(log.read_text())
    strange = {status: n for status, n in found["statuses"].items() if status not in ("201", "202", "207")}
    if strange:
        raise Wrong(f"{url} answered {strange}.")
    return found


def _figures(
    ground: Ground,
    found: dict[str, float],
    meter: Meter,
    database: str,
    *,
    table: str,
    bulk: int = 0,
    is_replay: bool = False,
) -> Figures:
    jobs = int(found["requests"]) * (bulk or 1)
    with psycopg.connect(ground.postgres.url(database)) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    if row is None or (row[0] != 2 if is_replay else row[0] < jobs):  # one key while warming, one while measuring
        raise Wrong(f"{jobs} jobs were accepted, and {table} has {row and row[0]} rows.")
    more = {name: found[name] for name in ("p50_ms", "p99_ms")}
    return Figures(jobs / found["seconds"], more | {"us_per_job": meter.read().per(jobs)})
