"""A worker node: several worker processes under one parent, and the port that answers for them all."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from workers import probes
from workers.watchdog import read_report

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


class Node:
    """Several worker processes under one parent, which starts again whichever dies.

    Children find the parent's end of their standard input closed when it dies, however it dies, and drain.
    Their metrics meet in a folder (prometheus_client's multiprocess mode), and so do the reports of their watchdogs.
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
            self._folder = Path(folder)
            stop_serving = self._serve()
            try:
                self._children = [self._start(number) for number in range(self._processes)]
                self._keep_alive()
                return max((child.wait() for child in self._children), default=0)
            finally:
                stop_serving()

    def _serve(self) -> Callable[[], None]:
        if self._metrics_port is None:
            return lambda: None
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))
        return probes.serve(self._metrics_port, processes=self._reports, registry=registry)

    def _reports(self) -> probes.Processes:
        """What each process that should run has told of its parts."""
        return {child.pid: read_report(self._report(number)) for number, child in enumerate(self._children)}

    def _report(self, number: int) -> Path:
        return self._folder / f"parts-{number}.json"

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        self._report(number).unlink(missing_ok=True)  # of the one that stood here before
        return subprocess.Popen(
            [sys.executable, *self._command, "--follow-stdin", "--report-to", str(self._report(number))],
            stdin=subprocess.PIPE,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(self._folder)},
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent only, which passes it on once
        )

    def _keep_alive(self) -> None:
        wait, last_start = SHORTEST_RESTART_WAIT_SECONDS, time.monotonic()
        while not self._is_stopping:
            time.sleep(LOOK_SECONDS)
            quiet = time.monotonic() - last_start
            if quiet >= wait and self._start_dead_again():
                is_calm = quiet >= CALM_SECONDS
                wait = SHORTEST_RESTART_WAIT_SECONDS if is_calm else min(wait * 2, LONGEST_RESTART_WAIT_SECONDS)
                last_start = time.monotonic()
        self._pass_on(signal.SIGTERM)

    def _start_dead_again(self) -> bool:
        """Whether there were any."""
        dead = [number for number, child in enumerate(self._children) if child.poll() is not None]
        for number in dead:
            child = self._children[number]
            log.error("worker_process_died", pid=child.pid, code=child.returncode)
            mark_process_dead(child.pid, str(self._folder))
            self._children[number] = self._start(number)
        return bool(dead)

    def _signalled(self, number: int, frame: object) -> None:
        if self._is_stopping:
            self._pass_on(signal.SIGTERM)  # the second signal: they hand back at once
        self._is_stopping = True

    def _pass_on(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)
