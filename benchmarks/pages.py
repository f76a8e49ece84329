"""How long the pages take that people look at: the API's lists and the admin's, each asked again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from statistics import median

import httpx

from benchmarks.apis import OPEN_DOOR, PASSWORD, USERNAME, ours_serving
from benchmarks.drains import Wrong
from benchmarks.ground import NO_SERVER, Ground

LOGIN = "/admin/login/"
WARMING = 3  # requests


def add_person(ground: Ground, database: str) -> None:
    """One who may see everything in the admin; the jobs of the benchmark are theirs."""
    ground.manage(
        *("createsuperuser", "--noinput", "--username", USERNAME, "--email", f"{USERNAME}@example.org"),
        database=database,
        more={"DJANGO_SUPERUSER_PASSWORD": PASSWORD},
    )


def pages(ground: Ground, database: str, *, times: int) -> dict[str, float]:
    """Milliseconds of each page, the median of so many requests."""
    env = ground.our_env(database, smtp_port=NO_SERVER) | OPEN_DOOR
    with (
        ours_serving(ground, env) as (url, _),
        httpx.Client(base_url=url) as client,
    ):
        token = client.post("/login", json={"username": USERNAME, "password": PASSWORD}).raise_for_status().json()
        client.headers["Authorization"] = f"Bearer {token['access_token']}"
        _enter_admin(client)
        return {name: _milliseconds(client, path, times) for name, path in _addresses(client).items()}


def _enter_admin(client: httpx.Client) -> None:
    form = client.get(LOGIN).raise_for_status().text
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    if found is None:
        raise Wrong(f"{LOGIN} has no form.")
    answer = client.post(LOGIN, data={"csrfmiddlewaretoken": found[1], "username": USERNAME, "password": PASSWORD})
    if answer.status_code != httpx.codes.FOUND:
        raise Wrong(f"{LOGIN} answered {answer.status_code}.")


def _addresses(client: httpx.Client) -> Mapping[str, str]:
    """Of pages that are full, and of the newest of each kind."""
    newest_job = client.get("/jobs?limit=1").raise_for_status().json()["results"][0]["id"]
    newest_letter = client.get("/failedJobs?limit=1").raise_for_status().json()["results"][0]["id"]
    return {
        "GET /jobs": "/jobs",
        "GET /jobs?status=failed": "/jobs?status=failed",
        "GET /jobs/{id}": f"/jobs/{newest_job}",
        "GET /failedJobs": "/failedJobs",
        "GET /failedJobs?resolved=false": "/failedJobs?resolved=false",
        "admin, jobs": "/admin/jobs/job/",
        "admin, a job": f"/admin/jobs/job/{newest_job}/change/",
        "admin, dead letters": "/admin/jobs/deadletter/",
        "admin, undecided dead letters": "/admin/jobs/deadletter/?resolution=open",
        "admin, a dead letter": f"/admin/jobs/deadletter/{newest_letter}/change/",
    }


def _milliseconds(client: httpx.Client, path: str, times: int) -> float:
    took = []
    for _ in range(WARMING + times):
        began = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - began) * 1000)
        if answer.status_code != httpx.codes.OK:
            raise Wrong(f"{path} answered {answer.status_code}.")
    return median(took[WARMING:])
