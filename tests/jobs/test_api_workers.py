from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from jobs.models import Worker


@pytest.mark.parametrize(
    ("silent_seconds", "state", "shown"),
    [
        (1, "busy", "busy"),
        (1, "available", "available"),
        (31, "busy", "unavailable"),
        (1, "unavailable", "unavailable"),
    ],
)
def test_a_worker_that_fell_silent_is_shown_as_unavailable(caller, silent_seconds, state, shown):
    beat_at = Now() - timedelta(seconds=silent_seconds)
    Worker.objects.create(id=uuid4(), name="host:1", state=state, in_flight=3, started_at=Now(), beat_at=beat_at)

    (worker,) = caller.get("/workers").json()["results"]

    assert (worker["state"], worker["in_flight"], worker["name"]) == (shown, 3, "host:1")
    assert silent_seconds <= worker["heartbeat_age_seconds"] < silent_seconds + 20


def test_without_workers_the_list_is_empty(caller):
    assert caller.get("/workers").json() == {"results": []}
