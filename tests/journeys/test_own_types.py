"""Types of job that an app brings along, from the API to the result, beside emails."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import psutil
import pytest

from tests.journeys.platform import Platform

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(platform: Platform) -> Platform:
    platform.env |= {"JOB_APPS": "tests.shop", "SIGNUP_OPEN": "true", "WORKER_HANDS": "2"}
    return platform


@pytest.fixture
def post(shop: Platform):
    """Let a job in by the API, as a client that has signed up."""
    _, client = shop.start_api()
    answer = client.post("/signup", json={"username": "shop", "password": "correct horse battery"})
    token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return lambda type, **payload: client.post("/jobs", json={"type": type, "payload": payload}, headers=token)


def ended(shop: Platform, job_id: str, *statuses: str):
    shop.until(lambda: shop.job(UUID(job_id)).status in statuses)
    return shop.job(UUID(job_id))


def test_a_job_of_an_own_type_goes_all_the_way(shop, post):
    shop.start_worker()

    answer = post("shop.report", order=7)

    assert answer.status_code == 202
    job = ended(shop, answer.json()["id"], "completed")
    assert (job.result["order"], job.result["key"], job.lane, job.priority) == (7, str(job.id), "tasks", "low")
    assert shop.outcomes(job.id) == ["sent"]


def test_the_door_names_what_does_not_fit(post):
    answer = post("shop.report", ordr=7)

    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"payload.order", "payload.ordr"}
    assert "shop.told-again" in post("shop.unheard-of").json()["errors"]["type"][0]


def test_a_stuck_handler_ends_and_the_worker_goes_on(shop, post, tmp_path: Path):
    worker = shop.start_worker()
    stuck = [post("shop.told", do="spin", note=str(tmp_path / f"note-{n}")).json()["id"] for n in range(2)]
    shop.until(lambda: all((tmp_path / f"note-{n}").exists() for n in range(2)))

    email = shop.accept()
    report = post("shop.report", order=1).json()["id"]

    shop.until(lambda: shop.job(email).status == "completed")
    ended(shop, report, "completed")
    for job_id in stuck:
        job = ended(shop, job_id, "unknown")
        assert job.last_error["kind"] == "time_limit"
    spinning = [int((tmp_path / f"note-{n}").read_text().split()[1]) for n in range(2)]
    shop.until(lambda: not any(map(psutil.pid_exists, spinning)))
    assert worker.is_running


def test_what_may_be_repeated_is_tried_again(shop, post, tmp_path: Path):
    shop.start_worker()
    shop.start_scheduler()
    note = tmp_path / "note"

    job_id = post("shop.told-again", do="die", note=str(note)).json()["id"]

    shop.until(lambda: note.exists() and len(note.read_text().splitlines()) >= 3)
    assert shop.job(UUID(job_id)).last_error["kind"] == "handler_died"


def test_a_worker_that_is_killed_leaves_no_handler_behind(shop, post, tmp_path: Path):
    worker = shop.start_worker()
    note = tmp_path / "note"
    post("shop.told-again", do="ignore", note=str(note))
    shop.until(lambda: note.exists() and bool(note.read_text()))

    worker.kill()

    pid = int(note.read_text().split()[1])
    shop.until(lambda: not psutil.pid_exists(pid))


def test_a_worker_without_the_app_leaves_its_jobs_alone(shop, post):
    job_id = post("shop.report", order=1).json()["id"]
    del shop.env["JOB_APPS"]
    shop.start_worker()

    email = shop.accept()

    shop.until(lambda: shop.job(email).status == "completed")
    assert shop.job(UUID(job_id)).status == "queued"
