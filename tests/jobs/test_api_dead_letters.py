import pytest
from django.utils import timezone

from jobs import queue
from jobs.models import Attempt, DeadLetter, Delivery, Job
from tests.jobs.conftest import EMAIL, make_dead_letter

FIELDS = {"id", "job_id", "type", "reason", "error", "attempts", "payload", "died_at", "resolution"}


def ids(answer):
    return [row["id"] for row in answer.json()["results"]]


@pytest.fixture
def dead(caller):
    return make_dead_letter(caller.user)


@pytest.fixture
def unknown(caller):
    return make_dead_letter(caller.user, reason="unknown")


@pytest.fixture
def rung(monkeypatch):
    """What went through the bell."""
    jobs = []
    monkeypatch.setattr(queue, "push", lambda waiting: jobs.extend(waiting) or True)
    return jobs


# ── Read ──────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_letter_reads_back_with_exactly_the_fields_of_the_contract(caller, dead):
    now = timezone.now()
    for number, outcome in ((1, "transient"), (2, "permanent")):
        Attempt.objects.create(
            job_id=dead.job_id,
            claim=dead.claim + number,
            number=number,
            outcome=outcome,
            provider="main",
            kind="refused",
            code=550,
            detail="No such user",
            started_at=now,
            ended_at=now,
        )

    answer = caller.get(f"/failedJobs/{dead.id}").json()

    assert set(answer) == FIELDS
    assert (answer["job_id"], answer["reason"], answer["payload"]) == (str(dead.job_id), "permanent", EMAIL)
    assert answer["error"] == {"kind": "refused", "code": 550, "detail": "No such user"}
    assert answer["resolution"] is None
    assert [(a["number"], a["outcome"]) for a in answer["attempts"]] == [(1, "transient"), (2, "permanent")]
    assert set(answer["attempts"][0]) == {
        "number",
        "outcome",
        "provider",
        "kind",
        "code",
        "detail",
        "started_at",
        "ended_at",
    }


def test_the_list_is_newest_first_and_pages_forth_and_back(caller, stranger):
    mine = [make_dead_letter(caller.user).id for _ in range(5)][::-1]
    make_dead_letter(stranger.user)

    first = caller.get("/failedJobs?limit=2")
    second = caller.get(first.json()["next"])
    third = caller.get(second.json()["next"])

    assert ids(first) + ids(second) + ids(third) == mine
    assert (first.json()["previous"], third.json()["next"]) == (None, None)
    assert ids(caller.get(third.json()["previous"])) == ids(second)


def test_a_page_costs_two_queries_however_many_it_shows(caller, django_assert_num_queries):
    for _ in range(10):
        make_dead_letter(caller.user)

    with django_assert_num_queries(2) as captured:
        caller.get("/failedJobs")

    assert not any("COUNT" in query["sql"].upper() for query in captured.captured_queries)


def test_the_list_narrows_by_reason_and_by_whether_it_is_resolved(caller, dead, unknown):
    DeadLetter.objects.filter(id=dead.id).update(resolution="discarded", resolved_at=timezone.now())

    assert ids(caller.get("/failedJobs?reason=unknown")) == [unknown.id]
    assert ids(caller.get("/failedJobs?resolved=true")) == [dead.id]
    assert ids(caller.get("/failedJobs?resolved=false")) == [unknown.id]


@pytest.mark.parametrize(
    ("name", "value"),
    [("reason", "bored"), ("resolved", "maybe"), ("cursor", "PDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk"), ("limit", "x")],
)
def test_a_parameter_that_is_none_is_refused_by_name(caller, name, value):
    answer = caller.get("/failedJobs", {name: value})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])


@pytest.mark.parametrize("move", ["", "/requeue", "/discard", "/resolve"])
def test_the_dead_letters_of_others_cannot_be_told_from_none(caller, stranger, move):
    theirs = make_dead_letter(stranger.user)
    call = caller.post if move else caller.get
    body = [{"decision": "drop"}] if move else []

    assert call(f"/failedJobs/{theirs.id}{move}", *body).status_code == 404
    assert call(f"/failedJobs/{10**30}{move}", *body).status_code == 404
    theirs.refresh_from_db()
    assert theirs.resolution is None


# ── Decide ────────────────────────────────────────────────────────────────────────────────────


def test_a_requeued_job_gets_a_new_budget_and_rings_the_bell(caller, dead, rung):
    answer = caller.post(f"/failedJobs/{dead.id}/requeue")

    assert (answer.status_code, answer.json()["resolution"]) == (200, "requeued")
    job = Job.objects.get(id=dead.job_id)
    assert (job.status, job.attempts, job.finished_at) == ("queued", 0, None)
    assert [waiting.job_id for waiting in rung] == [dead.job_id]


def test_a_discarded_dead_letter_is_put_aside_and_its_job_stays_failed(caller, dead, rung):
    answer = caller.post(f"/failedJobs/{dead.id}/discard")

    assert (answer.status_code, answer.json()["resolution"]) == (200, "discarded")
    assert Job.objects.get(id=dead.job_id).status == "failed"
    assert rung == []


@pytest.mark.parametrize(
    ("decision", "job_status", "delivery_state"),
    [("mark_sent", "completed", "sent"), ("send_again", "queued", "released"), ("drop", "failed", "dropped")],
)
def test_a_decision_about_an_unknown_moves_job_and_delivery(
    caller, unknown, rung, monkeypatch, decision, job_status, delivery_state
):
    remembered = []
    monkeypatch.setattr(queue, "remember_sent", remembered.extend)

    answer = caller.post(f"/failedJobs/{unknown.id}/resolve", {"decision": decision})

    assert (answer.status_code, answer.json()["resolution"]) == (200, decision)
    job = Job.objects.get(id=unknown.job_id)
    assert job.status == job_status
    assert Delivery.objects.get().state == delivery_state
    assert [waiting.job_id for waiting in rung] == ([job.id] if decision == "send_again" else [])
    assert [bytes(h) for h in remembered] == ([bytes(job.dedupe_hash)] if decision == "mark_sent" else [])


def test_every_decision_is_recorded_with_who_and_when(caller, dead, unknown, rung):
    caller.post(f"/failedJobs/{dead.id}/requeue")
    caller.post(f"/failedJobs/{unknown.id}/resolve", {"decision": "drop"})

    for row in DeadLetter.objects.all():
        assert row.resolved_by == caller.user
        assert abs((timezone.now() - row.resolved_at).total_seconds()) < 60


@pytest.mark.parametrize("move", ["requeue", "discard"])
def test_an_unknown_is_neither_requeued_nor_discarded(caller, unknown, rung, move):
    answer = caller.post(f"/failedJobs/{unknown.id}/{move}")

    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")
    assert Job.objects.get(id=unknown.job_id).status == "unknown"
    assert rung == []


def test_what_is_no_unknown_is_not_resolved(caller, dead):
    answer = caller.post(f"/failedJobs/{dead.id}/resolve", {"decision": "send_again"})

    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")


def test_the_second_decision_comes_too_late(caller, dead, unknown, rung):
    caller.post(f"/failedJobs/{dead.id}/requeue")
    caller.post(f"/failedJobs/{unknown.id}/resolve", {"decision": "send_again"})

    answers = [
        caller.post(f"/failedJobs/{dead.id}/requeue"),
        caller.post(f"/failedJobs/{dead.id}/discard"),
        caller.post(f"/failedJobs/{unknown.id}/resolve", {"decision": "mark_sent"}),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert len(rung) == 2


@pytest.mark.parametrize("body", [{}, {"decision": "maybe"}, {"decision": None}, {"decision": "drop", "x": 1}, [], b""])
def test_a_decision_that_is_none_changes_nothing(caller, unknown, body):
    answer = caller.post(f"/failedJobs/{unknown.id}/resolve", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert Job.objects.get(id=unknown.job_id).status == "unknown"


@pytest.mark.parametrize(
    ("reason", "call", "body", "words"),
    [
        ("exhausted", "resolve", {"decision": "mark_sent"}, "not an unknown"),
        ("unknown", "requeue", None, "through resolve"),
        ("unknown", "discard", None, "through resolve"),
    ],
)
def test_a_decision_that_does_not_fit_says_which_one_does(caller, reason, call, body, words):
    letter = make_dead_letter(caller.user, reason=reason)

    answer = caller.post(f"/failedJobs/{letter.id}/{call}", body)

    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")
    assert words in answer.json()["detail"]


def test_a_second_decision_is_told_the_first(caller):
    letter = make_dead_letter(caller.user)
    caller.post(f"/failedJobs/{letter.id}/discard")

    assert "discarded" in caller.post(f"/failedJobs/{letter.id}/requeue").json()["detail"]
