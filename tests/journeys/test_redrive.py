"""A redrive sends what was never sent. What was sent goes out once more only by an override, and only that one."""

from __future__ import annotations

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from jobs import redis_session
from jobs.models import DeadLetter

pytestmark = pytest.mark.slow

REFUSED = "550 5.7.1 Not today"


@pytest.fixture
def client(platform, owner):
    platform.start_worker()
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    return client


def redrive(client, **body):
    answer = client.post("/failedJobs/redrive", json={"reason": "permanent"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_was_sent_meanwhile_is_left_alone_until_somebody_overrides_it(platform, smtp, client):
    smtp.once("dot", REFUSED, REFUSED)
    dead, replaced = platform.accept(), platform.accept(dedupe_key="order-7")
    platform.until_status("failed", dead, replaced)
    replacement = platform.accept(dedupe_key="order-7")
    platform.until_status("completed", replacement)

    assert redrive(client)["summary"] == "1 would be sent; 1 already has it."
    assert redrive(client, preview=False)["summary"] == "1 queued to be sent; 1 already has it."
    platform.until_status("completed", dead)
    assert [platform.copies(job) for job in (dead, replaced, replacement)] == [1, 0, 1]

    done = redrive(client, preview=False, override=["already_sent"], note="The customer asked for it again.")
    platform.until_status("completed", replaced)
    assert done["summary"] == "1 already has it: queued to be sent once more."
    assert [platform.copies(job) for job in (dead, replaced, replacement)] == [1, 1, 1]

    redis_session.server().flushdb()
    late = platform.accept(dedupe_key="order-7")
    platform.until_status("completed", late)
    assert platform.job(late).duplicate_of == replacement
    assert len(smtp.accepted) == 3
    letters = DeadLetter.objects.order_by("id").values_list("resolution", "resolved_by__username", "note")
    assert sorted(letters) == [("override", "ann", "The customer asked for it again."), ("requeued", "ann", "")]
    platform.assert_books_balance()
