"""How the API is served, everywhere: `python -m scheduler.server --bind 127.0.0.1:8000`.

The server is granian: sockets and HTTP are handled outside of Python, views by threads. This process only looks after
those that answer. It is no `manage.py` command, for a command loads all of Django, and what is counted for /metrics
asks for its folder when it is loaded.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from ipaddress import ip_address
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from granian.constants import HTTPModes, Interfaces
from granian.errors import FatalError
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from jobs import tracing
from workers.pulse import Pulse
from workers.watchdog import watched

KEEP_ALIVE_SECONDS = 75  # longer than a proxy keeps its side (60 s is common): it never writes into a closed connection
GRACEFUL_SECONDS = 20  # for requests under way at SIGTERM
HANGS_SECONDS = 60.0  # of the processor's time in which a process let none of its threads look at the clock
HEAD_BYTES = 64 * 1024  # of a buffer; a request line and headers may have a few of them
IDLE_THREAD_SECONDS = 600  # the longest that granian takes; a thread has a connection to PostgreSQL, which ends with it
LOOK_SECONDS = 1.0
TAKEN_PORT_SECONDS = 5.0
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
LOOPBACK = frozenset({"127.0.0.1", "::1"})
# What a request may say (RFC 3875 §4.1).
OF_REQUESTS = ("HTTP_", "SERVER_", "REQUEST_", "REMOTE_", "CONTENT_", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING")

# granian's lines go through our processors: JSON in a container, colours at a terminal. It logs no requests; we do.
LOGGERS: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "filters": {"of_use": {"()": lambda: _is_of_use}},
    "loggers": {"_granian": {"propagate": True, "filters": ["of_use"]}},
}

log = structlog.get_logger(__name__)
_held = ExitStack()  # what a process that answers holds until it ends


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what is under way; exit status 0."""
    settings = _settings()
    options = _parser(settings).parse_args(arguments)
    host, port = options.bind
    _wait_until_free(host, port)
    server = Server(
        "scheduler.wsgi",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=options.processes,
        blocking_threads=options.threads,
        blocking_threads_idle_timeout=IDLE_THREAD_SECONDS,
        http1_settings=HTTP1Settings(header_read_timeout=KEEP_ALIVE_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        respawn_failed_workers=True,
        workers_kill_timeout=GRACEFUL_SECONDS,
        log_level=LogLevels(settings.LOG_LEVEL.lower()),
        log_dictconfig=LOGGERS,
    )
    server.on_startup(_make_metrics_folder)
    try:
        server.serve(target_loader=partial(_application, parent=os.getpid()), wrap_loader=False)
    except FatalError as error:
        sys.exit(f"sendonce: {error}")
    finally:
        shutil.rmtree(os.environ.get(METRICS_DIR, ""), ignore_errors=True)


def _settings() -> Any:
    """In the parent already: a missing secret ends it with one line, before any process is made."""
    from django.conf import settings

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
    try:
        _ = settings.LOG_LEVEL
    except ImproperlyConfigured as error:
        sys.exit(f"sendonce: {error}")
    return settings


def _parser(settings: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scheduler.server", description="Serve the API until SIGTERM.")
    parser.add_argument("--bind", type=address, default=("127.0.0.1", 8000), help="host:port (127.0.0.1:8000)")
    parser.add_argument("--processes", type=positive, default=settings.WEB_CONCURRENCY, help="WEB_CONCURRENCY")
    parser.add_argument("--threads", type=positive, default=settings.WEB_THREADS, help="of each process: WEB_THREADS")
    return parser


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), range(65536)[int(port)]
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(f"{text!r} is not address:port, as in 127.0.0.1:8000 or [::]:8000") from None


def positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return number


def _wait_until_free(host: str, port: int) -> None:
    """The processes share the port with SO_REUSEPORT, so the kernel would let a second server in beside us. A server
    that is just ending is waited for."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + TAKEN_PORT_SECONDS
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return probe.bind((host, port))
            except OSError as error:
                if time.monotonic() > deadline:
                    sys.exit(f"sendonce: {host}:{port} cannot be served: {error.strerror}.")
        time.sleep(LOOK_SECONDS / 5)


def _is_of_use(record: logging.LogRecord) -> bool:
    """granian finds 8 threads many. They wait for PostgreSQL most of the time."""
    return not str(record.msg).startswith("Configuration allows spawning")


def _make_metrics_folder() -> None:
    """Several processes, one /metrics: each keeps its numbers in files, and whoever is scraped adds them up."""
    os.environ[METRICS_DIR] = tempfile.mkdtemp(prefix="sendonce-api-metrics-")


# ── In each process that answers ──────────────────────────────────────────────────────────────


def _application(*, parent: int) -> Callable[..., Any]:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until granian sets its own; the parent's would do nothing here
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    threading.Thread(target=_stop_once, name="stop", daemon=True).start()
    threading.Thread(target=_follow, args=[parent], name="follow-parent", daemon=True).start()
    _held.enter_context(watched(Pulse(), silence_seconds=HANGS_SECONDS))
    _export_spans()
    _forget_dead_processes()
    try:
        from scheduler.wsgi import application
    except Exception:
        log.critical("api_cannot_start", exc_info=True)
        sys.exit(1)
    gc.freeze()  # all of Django, which Python's collector would look through again and again
    return partial(answer, application)


def _export_spans() -> None:
    """Those of the last requests, too. A process made by multiprocessing knows no atexit, but this."""
    until_the_end = ExitStack()
    until_the_end.enter_context(tracing.exporting("api"))
    Finalize(None, until_the_end.close, exitpriority=0)


def answer(application: Callable[..., Any], environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """A proxy on this machine is believed when it says that its client came by TLS; nobody else is.

    granian adds the process's environment, secrets and all, to what the request says: no page is to show it.
    """
    for name in _process_names():
        environ.pop(name, None)
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https" and environ["REMOTE_ADDR"] in LOOPBACK:
        environ["wsgi.url_scheme"] = "https"
    return application(environ, start_response)


@cache
def _process_names() -> tuple[str, ...]:
    return tuple(name for name in os.environ if not name.startswith(OF_REQUESTS))


def _stop_once() -> None:
    """Ctrl-C, or a SIGTERM to the whole group, reaches us and then comes from the parent again. granian, when it gets a
    second signal while it looks at the first, stops for neither. So all are kept from it, and it is told once."""
    signal.sigwait([signal.SIGTERM])
    stop = signal.getsignal(signal.SIGTERM)
    if callable(stop):
        stop(signal.SIGTERM, None)
        time.sleep(GRACEFUL_SECONDS)
    os._exit(1)


def _follow(parent: int) -> None:
    """A parent that was killed could not say so. Nobody is to hold its port without it."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _forget_dead_processes() -> None:
    """What those that we replace counted stays; what they said of themselves while they lived goes."""
    from prometheus_client.multiprocess import mark_process_dead

    for pid in {path.stem.rpartition("_")[2] for path in Path(os.environ[METRICS_DIR]).glob("*.db")}:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            mark_process_dead(int(pid))


if __name__ == "__main__":
    main(sys.argv[1:])
