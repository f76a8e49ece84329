"""A worker node: one or more worker processes and the port where Prometheus reads them all."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from jobs.gauges import PlatformGauges

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.2  # how soon a signal or a death is noticed
SHORTEST_RESTART_WAIT_SECONDS = 0.4  # doubled with each death …
LONGEST_RESTART_WAIT_SECONDS = 10.0
CALM_SECONDS = 60.0  # … until there was none for so long


def port(text: str) -> int:
    """A command line's --metrics-port."""
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return number


def serve_metrics(port: int, registry: CollectorRegistry = REGISTRY) -> Any:
    """Serve a registry and the platform's gauges on `port`; returns a function that stops it."""
    registry.register(PlatformGauges())
    server, thread = start_http_server(port, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class Node:
    """Several worker processes under one parent, which starts again whichever dies.

    Children find the parent's end of their standard input closed when it dies, however it dies, and drain.
    Their metrics meet in a folder (prometheus_client's multiprocess mode) that the parent serves.
    """

    def __init__(self, *, processes: int, command: Sequence[str], metrics_port: int | None) -> None:
        self._processes = processes
        self._command = command
        self._metrics_port = metrics_port
        self._children: list[subprocess.Popen[bytes]] = []
        self._is_stopping = False  # no Event: set by a signal's handler, it can wait for the thread it interrupted

    def run(self) -> int:
        """Work until told to stop; 0 after an orderly end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        with tempfile.TemporaryDirectory(prefix="sendonce-metrics-") as folder:
            stop_metrics = self._serve_metrics(Path(folder))
            try:
                self._children = [self._start(folder) for _ in range(self._processes)]
                self._keep_alive(folder)
                return max((child.wait() for child in self._children), default=0)
            finally:
                stop_metrics()

    def _serve_metrics(self, folder: Path) -> Any:
        if self._metrics_port is None:
            return lambda: None
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))
        return serve_metrics(self._metrics_port, registry)

    def _start(self, folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *self._command, "--follow-stdin"],
            stdin=subprocess.PIPE,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": folder},
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent only, which passes it on once
        )

    def _keep_alive(self, folder: str) -> None:
        wait, last_start = SHORTEST_RESTART_WAIT_SECONDS, time.monotonic()
        while not self._is_stopping:
            time.sleep(LOOK_SECONDS)
            quiet = time.monotonic() - last_start
            if quiet >= wait and self._start_dead_again(folder):
                is_calm = quiet >= CALM_SECONDS
                wait = SHORTEST_RESTART_WAIT_SECONDS if is_calm else min(wait * 2, LONGEST_RESTART_WAIT_SECONDS)
                last_start = time.monotonic()
        self._pass_on(signal.SIGTERM)

    def _start_dead_again(self, folder: str) -> bool:
        """Whether there were any."""
        dead = [index for index, child in enumerate(self._children) if child.poll() is not None]
        for index in dead:
            child = self._children[index]
            log.error("worker_process_died", pid=child.pid, code=child.returncode)
            mark_process_dead(child.pid, folder)
            self._children[index] = self._start(folder)
        return bool(dead)

    def _signalled(self, number: int, frame: object) -> None:
        if self._is_stopping:
            self._pass_on(signal.SIGTERM)  # the second signal: they hand back at once
        self._is_stopping = True

    def _pass_on(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)
