"""Deciding many dead letters through the API: a preview that changes nothing, and what was really done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import bulk_decisions, queue
from jobs.models import DeadLetter, Delivery, Job
from jobs.resolutions import Outlook
from tests.jobs.conftest import make_dead_letter, make_job

REDRIVE, DISCARD, RESOLVE = "/failedJobs/redrive", "/failedJobs/discard", "/failedJobs/resolve"
NONE = dict.fromkeys(Outlook, 0)
WHY = "The relay is back."


@pytest.fixture
def rung(monkeypatch):
    jobs = []
    monkeypatch.setattr(queue, "push", lambda waiting: jobs.extend(waiting) or True)
    return jobs


def delivery(letter, state, **columns):
    """The key of this dead letter's job is another job's."""
    other = make_job(letter.owner, dedupe_hash=letter.job.dedupe_hash, status=columns.pop("status"))
    given = {"dedupe_hash": letter.job.dedupe_hash, "job_id": other.id, "claimed_at": timezone.now(), "claim": 1}
    return Delivery.objects.create(**given | {"state": state} | columns)


@pytest.fixture
def one_of_each(caller):
    """A dead letter for each way of standing, and two that would be sent."""

    def dead(**columns):
        return make_dead_letter(caller.user, **columns)

    letters = {outlook: dead() for outlook in Outlook if outlook not in (Outlook.UNKNOWN, Outlook.DROPPED)}
    letters[Outlook.UNKNOWN] = dead(reason="unknown")
    letters[Outlook.DROPPED] = dead(reason="dropped")
    delivery(letters[Outlook.ALREADY_SENT], "sent", status="completed")
    delivery(letters[Outlook.IN_FLIGHT], "claimed", status="queued")
    Job.objects.filter(id=letters[Outlook.NO_PAYLOAD].job_id).update(payload=None)
    Job.objects.filter(id=letters[Outlook.EXPIRED].job_id).update(expires_at=timezone.now() - timedelta(hours=1))
    decided = DeadLetter.objects.filter(id=letters[Outlook.ALREADY_DECIDED].id)
    decided.update(resolution="discarded", resolved_at=timezone.now())
    return letters


def ids_of(letters):
    return [letter.id for letter in letters.values()]


def resolutions():
    return dict(DeadLetter.objects.exclude(resolution=None).values_list("id", "resolution"))


# ── Preview ───────────────────────────────────────────────────────────────────────────────────


def test_without_a_word_it_is_a_preview_that_counts_and_changes_nothing(caller, one_of_each, rung):
    more = make_dead_letter(caller.user)
    before = resolutions()

    answer = caller.post(REDRIVE, {"ids": [*ids_of(one_of_each), more.id]})

    assert answer.status_code == 200
    assert answer.json() == {
        "preview": True,
        "summary": "2 would be sent; 1 already has it; 1 is unknown; 1 waits for another job of its key; "
        "1 has expired; 1 has a key that was dropped; 1 has no body any more; 1 was decided before.",
        "decided": 2,
        "counts": dict.fromkeys(Outlook, 1) | {"would_send": 2},
        "examples": {outlook: [letter.id] for outlook, letter in one_of_each.items()}
        | {"would_send": [one_of_each[Outlook.WOULD_SEND].id, more.id]},
        "continue_after": None,
    }
    assert (resolutions(), rung) == (before, [])


def test_the_sentence_of_the_promise(caller):
    """As an operator reads it: "312 would be sent; 4 already have it; 2 are unknown."."""
    for _ in range(3):
        make_dead_letter(caller.user)
    for _ in range(2):
        make_dead_letter(caller.user, reason="unknown")
        delivery(make_dead_letter(caller.user), "sent", status="completed")

    answer = caller.post(REDRIVE, {"type": "email"}).json()

    assert answer["summary"] == "3 would be sent; 2 already have it; 2 are unknown."


def test_of_several_of_one_key_only_the_first_would_be_sent_and_is(caller, rung):
    first, *_ = [make_dead_letter(caller.user) for _ in range(3)]
    Job.objects.update(dedupe_hash=first.job.dedupe_hash, dedupe_key="k")

    preview = caller.post(REDRIVE, {"reason": "permanent"}).json()
    done = caller.post(REDRIVE, {"reason": "permanent", "preview": False}).json()

    assert preview["counts"] == done["counts"] == NONE | {"would_send": 1, "in_flight": 2}
    assert resolutions() == {first.id: "requeued"}
    assert [waiting.job_id for waiting in rung] == [first.job_id]


# ── Redrive ───────────────────────────────────────────────────────────────────────────────────


def test_a_redrive_sends_only_what_was_never_sent_and_cannot_have_been(caller, one_of_each, rung):
    before = resolutions()

    answer = caller.post(REDRIVE, {"ids": ids_of(one_of_each), "preview": False, "note": WHY}).json()

    assert (answer["preview"], answer["decided"], answer["counts"]) == (False, 1, dict.fromkeys(Outlook, 1))
    assert answer["summary"].startswith("1 queued to be sent; 1 already has it; 1 is unknown; ")
    sent = one_of_each[Outlook.WOULD_SEND]
    assert resolutions() == before | {sent.id: "requeued"}
    assert [waiting.job_id for waiting in rung] == [sent.job_id]
    sent.refresh_from_db()
    assert (sent.resolved_by, sent.note) == (caller.user, WHY)


def test_a_redrive_with_overrides_sends_these_too_on_record(caller, one_of_each, rung):
    before = resolutions()
    body = {"ids": ids_of(one_of_each), "override": ["already_sent", "unknown"], "note": WHY}

    preview = caller.post(REDRIVE, body).json()
    done = caller.post(REDRIVE, body | {"preview": False}).json()

    assert preview["decided"] == done["decided"] == 3
    assert preview["counts"] == done["counts"] == dict.fromkeys(Outlook, 1)
    assert preview["summary"].startswith(
        "1 would be sent; 1 already has it and would be sent once more; 1 is unknown and would be sent once more; "
    )
    assert done["summary"].startswith(
        "1 queued to be sent; 1 already has it: queued to be sent once more; 1 is unknown: queued to be sent once more;"
    )
    sent, unknown = one_of_each[Outlook.ALREADY_SENT], one_of_each[Outlook.UNKNOWN]
    assert resolutions() == before | {
        one_of_each[Outlook.WOULD_SEND].id: "requeued",
        sent.id: "override",
        unknown.id: "send_again",
    }
    assert len(rung) == 3
    assert Job.objects.get(id=unknown.job_id).in_doubt
    for letter in DeadLetter.objects.filter(id__in=[sent.id, unknown.id]):
        assert (letter.resolved_by, letter.note) == (caller.user, WHY)


@pytest.mark.parametrize("preview", [True, False])
def test_an_override_takes_a_note(caller, one_of_each, preview):
    before = resolutions()

    answer = caller.post(REDRIVE, {"reason": "unknown", "override": ["unknown"], "preview": preview})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["note"])
    assert resolutions() == before


def test_the_summary_begins_with_what_was_done(caller, rung):
    make_dead_letter(caller.user, reason="unknown")

    answer = caller.post(REDRIVE, {"reason": "unknown", "override": ["unknown"], "note": WHY, "preview": False}).json()

    assert answer["summary"] == "1 is unknown: queued to be sent once more."


def test_whatever_is_done_is_done_once(caller, rung):
    for _ in range(3):
        make_dead_letter(caller.user)
    body = {"reason": "permanent", "preview": False}

    answers = [caller.post(REDRIVE, body).json() for _ in range(2)]

    assert [answer["decided"] for answer in answers] == [3, 0]
    assert answers[1]["summary"] == "Nothing queued to be sent."
    assert len(rung) == 3


# ── Discard, resolve ──────────────────────────────────────────────────────────────────────────


def test_many_are_discarded_but_no_unknown(caller, one_of_each, rung):
    before = resolutions()
    body = {"ids": ids_of(one_of_each), "note": WHY}

    preview = caller.post(DISCARD, body).json()
    done = caller.post(DISCARD, body | {"preview": False}).json()

    assert preview["summary"] == "6 would be discarded; 1 is unknown; 1 was decided before."
    assert done["summary"] == "6 discarded; 1 is unknown; 1 was decided before."
    put_aside = {letter.id for outlook, letter in one_of_each.items() if outlook != Outlook.UNKNOWN}
    assert resolutions() == before | dict.fromkeys(put_aside, "discarded")
    assert rung == []


@pytest.mark.parametrize(
    ("decision", "summary", "job_status"),
    [
        ("mark_sent", "1 marked sent", "completed"),
        ("send_again", "1 queued to be sent again", "queued"),
        ("drop", "1 dropped", "failed"),
    ],
)
def test_many_unknowns_are_decided_and_nothing_else(
    caller, one_of_each, rung, monkeypatch, decision, summary, job_status
):
    remembered = []
    monkeypatch.setattr(queue, "remember_sent", remembered.extend)
    before, unknown = resolutions(), one_of_each[Outlook.UNKNOWN]
    body = {"ids": ids_of(one_of_each), "decision": decision, "preview": False, "note": WHY}

    answer = caller.post(RESOLVE, body).json()

    assert answer["summary"] == f"{summary}; 6 are not unknown; 1 was decided before."
    assert resolutions() == before | {unknown.id: decision}
    job = Job.objects.get(id=unknown.job_id)
    assert job.status == job_status
    assert [waiting.job_id for waiting in rung] == ([job.id] if decision == "send_again" else [])
    assert [bytes(key) for key in remembered] == ([bytes(job.dedupe_hash)] if decision == "mark_sent" else [])


# ── Which ones ────────────────────────────────────────────────────────────────────────────────


def test_filters_select_the_callers_own_undecided_ones(caller, stranger, rung):
    now = timezone.now()
    wanted = make_dead_letter(caller.user, reason="exhausted", died_at=now - timedelta(hours=2))
    make_dead_letter(caller.user, reason="exhausted", died_at=now - timedelta(hours=5))
    make_dead_letter(caller.user, reason="exhausted", died_at=now)
    make_dead_letter(caller.user, reason="permanent", died_at=now - timedelta(hours=2))
    make_dead_letter(caller.user, reason="exhausted", type="welcome_email", died_at=now - timedelta(hours=2))
    make_dead_letter(stranger.user, reason="exhausted", died_at=now - timedelta(hours=2))
    hours_ago = [(now - timedelta(hours=hours)).isoformat() for hours in (3, 1)]
    body = {"reason": "exhausted", "type": "email", "since": hours_ago[0], "until": hours_ago[1]}

    assert caller.post(REDRIVE, body).json()["examples"]["would_send"] == [wanted.id]
    assert caller.post(REDRIVE, body | {"preview": False}).json()["decided"] == 1
    assert resolutions() == {wanted.id: "requeued"}


def test_dead_letters_of_others_are_not_selected_by_their_ids(caller, stranger, rung):
    mine, theirs = make_dead_letter(caller.user), make_dead_letter(stranger.user)

    answer = caller.post(REDRIVE, {"ids": [mine.id, theirs.id, 2**40], "preview": False})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["ids"])
    assert f"{theirs.id}, {2**40}" in answer.json()["errors"]["ids"][0]
    assert resolutions() == {}


@pytest.mark.parametrize("path", [REDRIVE, DISCARD, RESOLVE])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"preview": False}, "body"),
        ({"ids": []}, "ids"),
        ({"ids": list(range(1, 1002))}, "ids"),
        ({"ids": [1], "reason": "unknown"}, "ids"),
        ({"ids": [0]}, "ids[0]"),
        ({"ids": [2**63]}, "ids[0]"),
        ({"ids": ["1"]}, "ids[0]"),
        ({"reason": "bored"}, "reason"),
        ({"type": "fax"}, "type"),
        ({"since": "noon"}, "since"),
        ({"until": "2031-05-01T00:00:00"}, "until"),
        ({"reason": "unknown", "after": -1}, "after"),
        ({"reason": "unknown", "preview": None}, "preview"),
        ({"reason": "unknown", "note": "x" * 501}, "note"),
        ({"reason": "unknown", "colour": "red"}, "colour"),
    ],
)
def test_a_selection_that_is_none_is_refused_by_name(caller, path, body, field):
    given = {"decision": "drop"} if path == RESOLVE else {}

    answer = caller.post(path, given | body)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (REDRIVE, {"override": ["dropped"], "note": WHY}, "override[0]"),
        (REDRIVE, {"override": "unknown", "note": WHY}, "override"),
        (RESOLVE, {}, "decision"),
        (RESOLVE, {"decision": "maybe"}, "decision"),
        (DISCARD, {"override": ["unknown"]}, "override"),
    ],
)
def test_a_wish_that_is_none_is_refused_by_name(caller, path, body, field):
    answer = caller.post(path, {"reason": "unknown"} | body)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_more_than_one_call_may_look_at_are_told_and_the_next_call_goes_on_behind_them(caller, rung, monkeypatch):
    monkeypatch.setattr(bulk_decisions, "BATCH", 2)
    monkeypatch.setattr(bulk_decisions, "MOST_AT_ONCE", 4)
    letters = [make_dead_letter(caller.user, reason=reason) for reason in ("unknown", "invalid") * 3]
    body = {"type": "email", "preview": False}

    first = caller.post(REDRIVE, body).json()
    second = caller.post(REDRIVE, body | {"after": first["continue_after"]}).json()

    assert (first["decided"], first["continue_after"]) == (2, letters[3].id)
    assert (second["decided"], second["continue_after"]) == (1, None)
    assert len(rung) == 3


def test_a_batch_costs_the_same_few_statements_however_many_it_decides(caller, rung, django_assert_max_num_queries):
    for _ in range(40):
        make_dead_letter(caller.user)

    with django_assert_max_num_queries(5):  # which ones, whether there are more, and the transaction's own
        caller.post(REDRIVE, {"reason": "permanent", "preview": False})

    assert len(rung) == 40
