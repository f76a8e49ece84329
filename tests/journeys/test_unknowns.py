"""Where nobody can know whether a message went out, a person decides, or the policy that its sender chose."""

from __future__ import annotations

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from jobs.models import DeadLetter
from scheduler.embedded.faulty_smtp import ACCEPT_THEN_DROP, THROW_AWAY_AND_DROP

pytestmark = pytest.mark.slow

LOST, KEPT = "lost@example.com", "kept@example.com"  # what the server did with it before it hung up


@pytest.fixture
def unknown(platform, smtp):
    """Lets one email in, which becomes unknown."""

    def accept(to: str, **options):
        smtp.once("dot", ACCEPT_THEN_DROP if to == KEPT else THROW_AWAY_AND_DROP)
        job_id = platform.accept(to, **options)
        platform.until(lambda: platform.outcomes(job_id) == ["unknown"])
        return job_id

    return accept


def test_a_person_decides_each_unknown_and_what_waited_beside_it_goes_on(platform, smtp, owner, unknown):
    platform.start_worker()
    platform.start_scheduler()
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    decisions = {
        unknown(KEPT): "mark_sent",
        unknown(LOST, dedupe_key="again"): "send_again",
        unknown(LOST, dedupe_key="drop"): "drop",
    }
    marked, again, dropped = decisions
    beside_again, beside_dropped = platform.accept(dedupe_key="again"), platform.accept(dedupe_key="drop")
    platform.until_status("unknown", beside_again, beside_dropped)

    desk = client.get("/failedJobs", params={"reason": "unknown"}).json()["results"]
    for letter in desk:
        decision = decisions[next(id for id in decisions if str(id) == letter["job_id"])]
        answer = client.post(f"/failedJobs/{letter['id']}/resolve", json={"decision": decision})
        assert answer.status_code == 200
    platform.until_status("completed", marked, again, beside_again)
    platform.until_status("failed", dropped, beside_dropped)

    assert len(desk) == 3
    assert set(DeadLetter.objects.filter(reason="unknown").values_list("resolved_by", flat=True)) == {owner.id}
    assert platform.job(beside_again).duplicate_of == again
    assert [platform.copies(job) for job in (marked, again, dropped, beside_dropped)] == [1, 1, 0, 0]
    platform.assert_books_balance()


def test_a_policy_decides_once_no_late_reply_can_come_any_more(platform, smtp, unknown):
    platform.env["DOT_TIMEOUT_SECONDS"] = "1"
    platform.shorten_lease()
    platform.start_worker()
    platform.start_scheduler()

    resent, assumed = unknown(LOST, on_unknown="resend"), unknown(KEPT, on_unknown="assume_sent")
    platform.until_status("completed", resent, assumed)

    assert platform.outcomes(resent) == ["unknown", "sent"]
    assert platform.outcomes(assumed) == ["unknown"]
    assert [platform.copies(job) for job in (resent, assumed)] == [1, 1]
    assert set(DeadLetter.objects.values_list("resolution", "resolved_by")) == {
        ("send_again", None),
        ("mark_sent", None),
    }
    platform.assert_books_balance()
