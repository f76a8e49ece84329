from uuid import uuid4

import pytest

from jobs.models import Job
from tests.jobs.conftest import make_job


@pytest.mark.parametrize("status", ["queued", "scheduled"])
def test_a_job_that_nobody_has_taken_is_cancelled(caller, status):
    job = make_job(caller.user, status=status)

    answer = caller.post(f"/jobs/{job.id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert job.finished_at is not None


def test_a_second_cancel_finds_it_cancelled(caller):
    job = make_job(caller.user)
    caller.post(f"/jobs/{job.id}/cancel")

    again = caller.post(f"/jobs/{job.id}/cancel")

    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize("status", ["running", "completed", "failed", "expired", "unknown"])
def test_a_job_that_was_taken_is_not_cancelled(caller, status):
    running = {"worker": uuid4(), "claim": 1} if status == "running" else {}
    job = make_job(caller.user, status=status, **running)

    answer = caller.post(f"/jobs/{job.id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")
    assert Job.objects.get(id=job.id).status == status


def test_nobody_cancels_the_jobs_of_others(caller, stranger):
    theirs = make_job(stranger.user)

    assert caller.post(f"/jobs/{theirs.id}/cancel").status_code == 404
    assert Job.objects.get(id=theirs.id).status == "queued"
