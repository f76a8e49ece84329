"""How gunicorn runs the API, in the image and locally: `gunicorn --config scheduler/gunicorn_conf.py --bind …`.

gunicorn reads the number of processes from WEB_CONCURRENCY (1) and further options from GUNICORN_CMD_ARGS.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from gunicorn.glogging import Logger

wsgi_app = "scheduler.wsgi"
worker_class = "gthread"
threads = 8
keepalive = 75  # longer than a proxy keeps its side (60 s is common): it never writes into a closed connection
timeout = 60  # a process whose main thread is silent this long is replaced; slow requests do not count
graceful_timeout = 20  # for requests under way at SIGTERM
control_socket_disable = True  # it wants to write into the home directory, and nobody talks to it
# Heartbeats are file times; on a disk they can wait behind somebody else's writes.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Several processes, one /metrics: each keeps its numbers in files, and whoever is scraped adds them up.

    prometheus_client reads the variable when it is imported, which only the processes do that come after this.
    """
    os.environ[METRICS_DIR] = tempfile.mkdtemp(prefix="sendonce-api-metrics-")


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ[METRICS_DIR], ignore_errors=True)


class logger_class(Logger):  # noqa: N801  (gunicorn looks for this name)
    """gunicorn's lines go through our processors: JSON in a container, colours at a terminal."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        _load_settings()
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def _load_settings() -> None:
    """In the parent already: a missing secret ends it with one line, before any process is made."""
    from django.conf import settings

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
    try:
        logging.getLogger("gunicorn").setLevel(settings.LOG_LEVEL.upper())
    except ImproperlyConfigured as error:
        sys.exit(f"sendonce: {error}")
