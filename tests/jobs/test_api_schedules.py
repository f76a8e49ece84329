"""Schedules through the API: made, listed, read, paused, resumed, deleted, and refused with all that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.models import Job, Schedule
from tests.jobs.conftest import EMAIL, Caller, make_job, make_schedule

BODY = {"name": "weekly report", "cron": "30 7 * * 1", "time_zone": "Europe/Berlin", "type": "email", "payload": EMAIL}


def create(caller, **changes):
    return caller.post("/schedules", {name: value for name, value in (BODY | changes).items() if value is not ...})


def errors(answer):
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    return answer.json()["errors"]


# ── Make ──────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_is_made_and_says_its_next_five_times(caller):
    answer = create(caller, priority="high", max_attempts=3, missed="skip")

    made = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/schedules/{made['id']}")
    assert (made["name"], made["cron"], made["time_zone"], made["missed"]) == (
        *("weekly report", "30 7 * * 1", "Europe/Berlin", "skip"),
    )
    assert (made["type"], made["payload"]["to"]) == ("email", EMAIL["to"])
    assert (made["priority"], made["max_attempts"], made["on_unknown"], made["provider"]) == ("high", 3, None, None)
    assert (made["paused"], made["pause_reason"], made["last_at"], made["last_job_id"]) == (False, None, None, None)
    times = [datetime.fromisoformat(text) for text in made["next_times"]]
    assert len(times) == 5
    assert times[0] > timezone.now()
    assert {(time.weekday(), time.hour, time.minute) for time in times} == {(0, 7, 30)}, "by the clocks of Berlin"
    assert caller.get(answer["Location"]).json() == made
    assert Schedule.objects.get().next_at == times[0]
    assert not Job.objects.exists()


def test_without_a_zone_it_is_utc_and_without_a_policy_once(caller):
    made = create(caller, time_zone=...).json()

    assert (made["time_zone"], made["missed"]) == ("UTC", "once")


def test_a_type_may_stand_inside_the_payload_and_options_may_be_null(caller):
    made = create(caller, type=..., payload={"type": "email"} | EMAIL, provider=None).json()

    assert (made["type"], "type" in made["payload"]) == ("email", False)


def test_a_name_is_taken_once_per_owner(caller, stranger):
    first = create(caller)

    again, theirs = create(caller, cron="@daily"), create(stranger)

    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert first.json()["id"] in again.json()["detail"], "so that whoever repeats a request finds what it made"
    assert theirs.status_code == 201
    assert Schedule.objects.count() == 2


# ── Bad input ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"name": ...}, "name", "Required"),
        ({"name": ""}, "name", "1 to 100"),
        ({"name": "x" * 101}, "name", "1 to 100"),
        ({"name": 7}, "name", "1 to 100"),
        ({"name": "two\nlines"}, "name", "printable"),
        ({"cron": ...}, "cron", "30 7 * * 1-5"),
        ({"cron": None}, "cron", "a string"),
        ({"cron": "61 * * * *"}, "cron", "Bad minute"),
        ({"cron": "* * * * * *"}, "cron", "Has 6 fields"),
        ({"cron": "* * */20 * 1L"}, "cron", "No such time within 50 years"),
        ({"time_zone": "Europe/Berln"}, "time_zone", "Did you mean Europe/Berlin?"),
        ({"time_zone": None}, "time_zone", "Example: Europe/Berlin"),
        ({"missed": "maybe"}, "missed", "One of skip, once, all."),
        ({"missed": []}, "missed", "One of skip, once, all."),
        ({"type": "fax"}, "type", "is not a known type"),
        ({"type": ...}, "type", "Known types"),
        ({"payload": ...}, "payload", "Required"),
        ({"payload": {"to": "ann@example.org"}}, "payload.subject", "is required"),
        ({"payload": EMAIL | {"to": "nobody"}}, "payload.to", "@"),
        ({"payload": EMAIL | {"colour": "red"}}, "payload.colour", "is not a field"),
        ({"max_attempts": 0}, "max_attempts", "Between 1 and"),
        ({"priority": "urgent"}, "priority", "One of high, default, low."),
        ({"provider": "pigeon"}, "provider", "Not configured"),
        ({"on_unknown": "guess"}, "on_unknown", "One of hold"),
        ({"idempotency_key": "k"}, "idempotency_key", "a key of its own"),
        ({"dedupe_key": "k"}, "dedupe_key", "only one would ever be sent"),
        ({"run_at": "2031-01-01T00:00:00Z"}, "run_at", "cron"),
        ({"delay_seconds": 5}, "delay_seconds", "cron"),
        ({"expires_at": "2031-01-01T00:00:00Z"}, "expires_at", "later runs"),
        ({"colour": "red"}, "colour", "Unknown field. Known: name, cron"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy_and_nothing_is_made(caller, changes, field, said):
    wrong = errors(create(caller, **changes))

    assert wrong.keys() == {field}
    assert said in wrong[field][0]
    assert not Schedule.objects.exists()


def test_all_that_is_wrong_is_named_at_once(caller):
    wrong = errors(create(caller, name="", cron="x", time_zone="y", missed="z", payload={}, colour="red"))

    assert {"name", "cron", "time_zone", "missed", "payload.to", "colour"} <= wrong.keys()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"email"', b"\xff"])
def test_what_is_no_object_is_refused(caller, body):
    assert errors(caller.post("/schedules", body)).keys() == {"body"}


def test_a_payload_is_refused_in_the_words_of_post_jobs(caller):
    payload = {"to": ["ann@example.org", "nobody"], "subject": "", "text": 7}

    at_schedules = errors(create(caller, payload=payload))
    at_jobs = errors(caller.post("/jobs", {"type": "email", "payload": payload}))

    assert at_schedules == at_jobs


def test_a_body_that_is_too_large_is_refused(caller, tunables):
    tunables(max_body_bytes=1000)

    assert create(caller, payload=EMAIL | {"text": "x" * 1000}).status_code == 413


def test_a_schedule_of_a_user_who_is_gone_is_refused(committed):
    answer = create(Caller(User(id=10**6, username="gone")))

    assert (answer.status_code, answer.json()["code"]) == (401, "user_not_found")
    assert not Schedule.objects.exists()


# ── Read and list ─────────────────────────────────────────────────────────────────────────────


def test_schedules_are_listed_newest_first_page_by_page_and_only_ones_own(caller, stranger):
    mine = [str(make_schedule(caller.user).id) for _ in range(3)]
    make_schedule(stranger.user)

    first = caller.get("/schedules", {"limit": 2}).json()
    second = caller.get(first["next"]).json()

    assert [row["id"] for row in first["results"] + second["results"]] == mine[::-1]
    assert (first["previous"], second["next"]) == (None, None)
    assert caller.get(second["previous"]).json()["results"] == first["results"]


def test_the_list_can_be_narrowed(caller):
    running, resting = make_schedule(caller.user), make_schedule(caller.user, paused=True)
    make_schedule(caller.user, type="welcome_email", payload={})

    def ids(**params):
        return [row["id"] for row in caller.get("/schedules", params).json()["results"]]

    assert ids(paused="true") == [str(resting.id)]
    assert ids(paused="false", type="email") == [str(running.id)]
    assert errors(caller.get("/schedules", {"paused": "1"})).keys() == {"paused"}
    assert errors(caller.get("/schedules", {"type": "fax"})).keys() == {"type"}
    assert errors(caller.get("/schedules", {"name": "x"})).keys() == {"name"}
    assert errors(caller.get("/schedules", {"cursor": "x"})).keys() == {"cursor"}


def test_a_zone_that_nobody_knows_any_more_does_not_break_the_list(caller):
    make_schedule(caller.user, time_zone="Europe/Atlantis")

    assert caller.get("/schedules").json()["results"][0]["next_times"] == []


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("delete", ""), ("post", "/pause"), ("post", "/resume")])
def test_a_strangers_schedule_is_not_there(caller, stranger, nobody, method, path):
    row = make_schedule(stranger.user)
    url = f"/schedules/{row.id}{path}"

    assert getattr(caller, method)(url).status_code == 404
    assert getattr(nobody, method)(url).status_code == 401
    assert Schedule.objects.values_list("paused", "next_at").get() == (False, row.next_at)


# ── Pause, resume, delete ─────────────────────────────────────────────────────────────────────


def test_a_paused_schedule_says_so_and_names_no_times(caller):
    row = make_schedule(caller.user)

    paused = caller.post(f"/schedules/{row.id}/pause").json()

    assert (paused["paused"], paused["pause_reason"], paused["next_times"]) == (True, "Paused by its owner.", [])
    assert caller.post(f"/schedules/{row.id}/pause").json() == paused, "twice is once"


def test_a_resumed_schedule_goes_on_with_times_to_come(caller):
    row = make_schedule(caller.user, paused=True, pause_reason="Paused by its owner.", cron="* * * * *")
    before = datetime.now(UTC)

    resumed = caller.post(f"/schedules/{row.id}/resume").json()

    first = datetime.fromisoformat(resumed["next_times"][0])
    assert (resumed["paused"], resumed["pause_reason"]) == (False, None)
    assert before < first < before + timedelta(minutes=2)
    assert caller.post(f"/schedules/{row.id}/resume").json() == resumed, "twice is once"


@pytest.mark.parametrize(
    ("columns", "field"),
    [({"type": "gone"}, "type"), ({"time_zone": "Europe/Atlantis"}, "time_zone"), ({"payload": {}}, "payload.to")],
)
def test_what_would_pause_itself_again_is_not_resumed(caller, columns, field):
    row = make_schedule(caller.user, paused=True, pause_reason="Its job was refused.", **columns)

    assert field in errors(caller.post(f"/schedules/{row.id}/resume"))
    row.refresh_from_db()
    assert (row.paused, row.pause_reason) == (True, "Its job was refused.")


def test_a_deleted_schedule_is_gone_and_its_jobs_stay(caller):
    job = make_job(caller.user)
    row = make_schedule(caller.user, last_job_id=job.id)

    deleted = caller.delete(f"/schedules/{row.id}")

    assert (deleted.status_code, deleted.json()["last_job_id"]) == (200, str(job.id))
    assert caller.get(f"/schedules/{row.id}").status_code == 404
    assert caller.get(f"/jobs/{job.id}").status_code == 200
    assert create(caller, name=row.name).status_code == 201, "the name is free"


def test_other_methods_are_refused_with_those_that_there_are(caller):
    row = make_schedule(caller.user)

    answer = caller.client.patch(f"/schedules/{row.id}", headers=caller.headers)

    assert answer.status_code == 405
    assert {"GET", "DELETE"} <= set(answer["Allow"].split(", "))
