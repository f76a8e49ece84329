"""The witness: what an email service told of a mail closes the unknown that it was."""

from __future__ import annotations

import pytest

from jobs import events
from jobs.events import News
from jobs.models import Attempt, DeadLetter, Event, Job
from jobs.states import Decision, EventKind, Resolution
from scheduler.loops import witness
from scheduler.loops.witness import Witness
from tests.jobs.transitions.builders import claimed, decide, held, letter, set_job, unknown, where

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bell")]

PROOF = ["sent", "delivered", "deferred", "bounced", "complained"]


def told(job_id, kind: str = "delivered", event_id: str = "1") -> None:
    facts = {"recipient": "", "is_guess": False, "reason": "", "detail": "", "at": None, "suppresses": None}
    events.record([News(job_id=job_id, esp="postmark", event_id=event_id, kind=EventKind(kind), **facts)])
    assert Event.objects.filter(job_id=job_id).exists()


@pytest.mark.parametrize("kind", PROOF)
def test_what_is_only_told_of_mails_that_were_taken_settles_as_sent(kind):
    claim = unknown()
    told(claim.job_id, kind)

    assert Witness().run_once(0.0) == {"sent": 1}

    row, job = DeadLetter.objects.get(id=letter(claim)), Job.objects.get(id=claim.job_id)
    assert (job.status, row.resolution) == ("completed", Resolution.EVIDENCE)
    assert job.result["evidence"].startswith(f"postmark: It told '{kind}', at ")
    assert job.result["message_id"].startswith(f"<{claim.job_id}@")
    assert [(one["source"], one["accepted"]) for one in row.evidence] == [("postmark", True)]
    assert Witness().run_once(0.0) == {"sent": 0}


@pytest.mark.parametrize("kind", sorted({each.value for each in EventKind} - set(PROOF)))
def test_what_may_be_told_of_others_settles_nothing(kind):
    claim = unknown()
    told(claim.job_id, kind)

    assert Witness().run_once(0.0) == {"sent": 0}
    assert where(claim)[0] == "unknown"


def test_an_event_that_came_before_the_unknown_counts():
    claim = claimed()
    told(claim.job_id)
    unknown(claim)

    assert Witness().run_once(0.0) == {"sent": 1}


def test_an_event_of_another_job_settles_nothing():
    claim = unknown()
    told(unknown().job_id)

    assert Witness().run_once(0.0) == {"sent": 1}
    assert where(claim)[0] == "unknown"


def test_what_a_person_decided_stands():
    claim = unknown()
    told(claim.job_id)
    decide(claim, Decision.DROP)

    assert Witness().run_once(0.0) == {"sent": 0}


def test_a_job_that_was_sent_before_is_not_settled_by_what_is_told_of_that_mail():
    claim = unknown()
    told(claim.job_id)
    Attempt.objects.filter(job_id=claim.job_id).update(outcome="sent")

    assert Witness().run_once(0.0) == {"sent": 0}
    assert where(claim)[0] == "unknown"


def test_a_job_that_waits_behind_an_unknown_is_left_to_the_waker():
    first = unknown(key="k")
    second = held(behind=first)
    told(second.job_id)

    assert Witness().run_once(0.0) == {"sent": 0}


def test_all_unknowns_are_looked_at_page_by_page(monkeypatch):
    monkeypatch.setattr(witness, "PAGE", 2)
    claims = [unknown() for _ in range(5)]
    told(claims[-1].job_id)
    clock = Witness()

    assert [clock.run_once(0.0)["sent"] for _ in range(3)] == [0, 0, 1]
    told(claims[0].job_id)
    assert clock.run_once(0.0)["sent"] == 1


def test_a_job_without_its_payload_is_settled_too():
    claim = unknown()
    told(claim.job_id)
    set_job(claim.job_id, type="email", payload={})

    assert Witness().run_once(0.0) == {"sent": 1}
    assert Job.objects.get(id=claim.job_id).result["message_id"] is None
