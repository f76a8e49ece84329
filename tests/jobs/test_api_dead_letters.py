from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from jobs import queue
from jobs.models import Attempt, DeadLetter, Delivery, Job
from tests.jobs.conftest import EMAIL, make_dead_letter, make_job

FIELDS = {
    *("id", "job_id", "type", "reason", "error", "attempts", "payload", "died_at"),
    *("resolution", "resolved_at", "resolved_by", "note", "evidence"),
}


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
    decision = [answer[name] for name in ("resolution", "resolved_at", "resolved_by", "note", "evidence")]
    assert decision == [None, None, None, None, []]
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


def test_the_list_narrows_by_type_and_by_when_they_died(caller, dead):
    welcome = make_dead_letter(caller.user, type="welcome_email", died_at=timezone.now() - timedelta(days=2))
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()

    assert ids(caller.get("/failedJobs?type=welcome_email")) == [welcome.id]
    assert ids(caller.get("/failedJobs", {"since": yesterday})) == [dead.id]
    assert ids(caller.get("/failedJobs", {"until": yesterday})) == [welcome.id]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reason", "bored"),
        ("resolved", "maybe"),
        ("type", "fax"),
        ("since", "noon"),
        ("until", "2030-01-01T00:00:00"),
        ("cursor", "PDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk"),
        ("limit", "x"),
    ],
)
def test_a_parameter_that_is_none_is_refused_by_name(caller, name, value):
    answer = caller.get("/failedJobs", {name: value})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])


@pytest.mark.parametrize("move", ["", "/requeue", "/discard", "/resolve"])
def test_the_dead_letters_of_others_cannot_be_told_from_none(caller, stranger, move):
    theirs = make_dead_letter(stranger.user)
    call = caller.post if move else caller.get
    body = [{"decision": "drop"}] if move == "/resolve" else []

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


@pytest.mark.parametrize(
    ("reason", "call", "body"),
    [
        ("permanent", "requeue", {}),
        ("permanent", "discard", {}),
        ("unknown", "resolve", {"decision": "drop"}),
    ],
)
def test_every_decision_is_recorded_with_who_when_and_why(caller, rung, reason, call, body):
    letter = make_dead_letter(caller.user, reason=reason)

    answer = caller.post(f"/failedJobs/{letter.id}/{call}", body | {"note": " Ann\r\n says\tso. "}).json()

    assert (answer["resolved_by"], answer["note"]) == (caller.user.username, "Ann says so.")
    assert abs((timezone.now() - datetime.fromisoformat(answer["resolved_at"])).total_seconds()) < 60
    row = DeadLetter.objects.get(id=letter.id)
    assert (row.resolved_by, row.note) == (caller.user, "Ann says so.")


def test_what_the_machine_decided_has_no_name(caller, unknown):
    said = [{"asked_at": "2031-05-01T08:00:00Z", "source": "main's log", "accepted": True, "detail": "250 OK"}]
    DeadLetter.objects.filter(id=unknown.id).update(evidence=said, resolution="evidence", resolved_at=timezone.now())

    answer = caller.get(f"/failedJobs/{unknown.id}").json()

    assert (answer["resolution"], answer["resolved_by"], answer["evidence"]) == ("evidence", None, said)


@pytest.mark.parametrize("call", ["requeue", "discard", "resolve"])
@pytest.mark.parametrize(
    ("note", "words"), [("x" * 501, "at most 500"), ("a\0b", "printable"), ("a\u202eb", "printable"), (7, "a string")]
)
def test_a_note_that_is_none_is_refused_by_name_and_nothing_is_decided(caller, dead, unknown, call, note, words):
    letter, body = (unknown, {"decision": "drop"}) if call == "resolve" else (dead, {})

    answer = caller.post(f"/failedJobs/{letter.id}/{call}", body | {"note": note})

    assert (answer.status_code, answer.json()["code"], list(answer.json()["errors"])) == (400, "invalid", ["note"])
    assert words in answer.json()["errors"]["note"][0]
    letter.refresh_from_db()
    assert letter.resolution is None


# ── What was sent ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def already_sent(caller, dead):
    """The dead job's key was sent by another job."""
    other = make_job(caller.user, status="completed", dedupe_hash=dead.job.dedupe_hash)
    Delivery.objects.create(
        dedupe_hash=dead.job.dedupe_hash, job_id=other.id, state="sent", claimed_at=timezone.now(), claim=1
    )
    return other


@pytest.mark.parametrize("body", [None, {}, {"override": False, "note": "Try again."}])
def test_a_key_that_was_sent_is_not_requeued_and_the_answer_names_the_job_and_the_override(
    caller, dead, already_sent, rung, body
):
    answer = caller.post(f"/failedJobs/{dead.id}/requeue", body)

    assert (answer.status_code, answer.json()["code"]) == (409, "already_sent")
    assert str(already_sent.id) in answer.json()["detail"]
    assert '"override": true' in answer.json()["detail"]
    dead.refresh_from_db()
    assert (dead.resolution, Job.objects.get(id=dead.job_id).status, rung) == (None, "failed", [])


def test_an_override_with_a_note_sends_once_more_under_a_key_of_its_own(caller, dead, already_sent, rung):
    answer = caller.post(f"/failedJobs/{dead.id}/requeue", {"override": True, "note": "She deleted it."}).json()

    assert (answer["resolution"], answer["resolved_by"]) == ("override", caller.user.username)
    assert answer["note"] == "She deleted it."
    job = Job.objects.get(id=dead.job_id)
    assert job.status == "queued"
    assert bytes(job.dedupe_hash) != bytes(dead.job.dedupe_hash)
    assert Delivery.objects.get().job_id == already_sent.id
    assert [waiting.job_id for waiting in rung] == [job.id]


@pytest.mark.parametrize("note", [None, "", " \n "])
def test_an_override_without_a_note_is_refused(caller, dead, already_sent, note):
    answer = caller.post(f"/failedJobs/{dead.id}/requeue", {"override": True, "note": note})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["note"])
    assert Job.objects.get(id=dead.job_id).status == "failed"


def test_an_override_that_overrides_nothing_is_a_plain_requeue(caller, dead, rung):
    answer = caller.post(f"/failedJobs/{dead.id}/requeue", {"override": True, "note": "Just in case."})

    assert answer.json()["resolution"] == "requeued"
    assert bytes(Job.objects.get(id=dead.job_id).dedupe_hash) == bytes(dead.job.dedupe_hash)


def test_while_another_job_of_the_key_is_on_its_way_nothing_is_requeued(caller, dead, rung):
    rival = make_job(caller.user, status="running", dedupe_hash=dead.job.dedupe_hash, claim=1, worker=uuid4())
    Delivery.objects.create(
        dedupe_hash=dead.job.dedupe_hash, job_id=rival.id, state="claimed", claimed_at=timezone.now(), claim=1
    )

    answer = caller.post(f"/failedJobs/{dead.id}/requeue", {"override": True, "note": "Now."})

    assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
    assert str(rival.id) in answer.json()["detail"]
    assert rung == []


# ── What does not fit ─────────────────────────────────────────────────────────────────────────


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
        ("dropped", "requeue", None, "another key"),
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


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"payload": None}, "retention"), ({"expires_at": timezone.now() - timedelta(hours=1)}, "expires_at")],
)
def test_what_would_not_be_sent_is_not_requeued(caller, dead, columns, words):
    """An expired job would be queued, and end as expired without a word."""
    Job.objects.filter(id=dead.job_id).update(**columns)

    answer = caller.post(f"/failedJobs/{dead.id}/requeue")

    assert (answer.status_code, answer.json()["code"]) == (409, "too_late")
    assert words in answer.json()["detail"]
    assert caller.post(f"/failedJobs/{dead.id}/discard").status_code == 200
