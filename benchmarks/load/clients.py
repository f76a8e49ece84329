"""Locust's clients: they post, and afterwards one of them reads how the jobs ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import gevent
import requests
from locust import FastHttpUser, constant_throughput, task
from locust.env import Environment

from benchmarks.load.report import FINAL, Run
from benchmarks.load.scenarios import Scenario

PAGE = 100
LOOK_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0


class Account:
    """Who posts. Raises SystemExit with a line for people when it cannot log in."""

    def __init__(self, url: str, *, user: str | None, password: str | None, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"username": user, "password": password}
        self._renews = token is None
        self.token = token or self._log_in()

    def renew(self) -> bool:
        """Whether there is a fresh token now."""
        if self._renews:
            self.token = self._log_in()
        return self._renews

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, address: str) -> dict[str, Any]:
        answer = requests.get(address, headers=self.headers, timeout=TIMEOUT_SECONDS)
        if answer.status_code == 401 and self.renew():
            answer = requests.get(address, headers=self.headers, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _log_in(self) -> str:
        try:
            answer = requests.post(f"{self.url}/login", json=self._credentials, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            sys.exit(f"{self.url} does not answer: {type(error).__name__}.")
        if not answer.ok:
            sys.exit(f"{self.url}/login answered {answer.status_code}: {answer.text[:200]}")
        return str(answer.json()["access_token"])


def post(
    scenario: Scenario, account: Account, run: Run, *, seconds: float, clients: int | None, rate: float | None
) -> None:
    """Post for so long, and write into the run what was answered."""
    clients = clients or scenario.clients
    numbers, marker = count(), f"{time.time_ns():x}"
    began = time.monotonic()

    class Poster(FastHttpUser):
        wait_time = constant_throughput((rate or scenario.per_second) / clients)
        connection_timeout = network_timeout = TIMEOUT_SECONDS

        @task
        def post(self) -> None:
            gevent.sleep(scenario.pause(time.monotonic() - began))
            if time.monotonic() - began < seconds:
                number = next(numbers)
                _post(self, scenario, account, run, number, key=f"load-{marker}-{number}")

    environment = Environment(user_classes=[Poster], host=account.url)
    runner = environment.create_local_runner()
    runner.start(clients, spawn_rate=clients)
    gevent.sleep(seconds)
    runner.stop()
    runner.quit()
    run.seconds = time.monotonic() - began


def _post(user: FastHttpUser, scenario: Scenario, account: Account, run: Run, number: int, *, key: str) -> None:
    headers = account.headers | ({} if scenario.bulk else {"Idempotency-Key": key})
    started = time.monotonic()
    with user.client.post(
        scenario.path, json=scenario.body(number), headers=headers, name=scenario.path, catch_response=True
    ) as answer:
        if answer.status_code == 401 and account.renew():
            answer.success()  # our token's age is no fault of the server
            return
        _note(run, answer, time.monotonic() - started)
        answer.success()


def _note(run: Run, answer: Any, took: float) -> None:
    if answer.status_code == 0:
        run.errors[type(answer.error).__name__] += 1
        return
    run.took.append(took)
    if answer.status_code not in (202, 207):
        run.errors[str(answer.status_code)] += 1
        return
    told = answer.json()
    for each in told.get("results", [told]):
        if "id" in each:
            run.accepted.append(each["id"])
        else:
            run.errors[each["error"]["code"]] += 1


def follow(account: Account, run: Run, *, until: float) -> None:
    """Read the jobs until all have ended, or until the time is over."""
    wanted = set(run.accepted)
    while wanted - run.ended.keys():
        for job in _newest(account, down_to=min(wanted - run.ended.keys())):
            if job["id"] in wanted and job["status"] in FINAL:
                run.ended[job["id"]] = job
        if time.monotonic() > until:
            return
        gevent.sleep(LOOK_SECONDS)


def _newest(account: Account, *, down_to: str) -> Iterator[dict[str, Any]]:
    """Jobs of the account, newest first: ids are ordered by time (UUIDv7)."""
    address: str | None = f"{account.url}/jobs?limit={PAGE}"
    while address:
        page = account.get(address)
        yield from page["results"]
        is_there = bool(page["results"]) and page["results"][-1]["id"] < down_to
        address = None if is_there else page["next"]
