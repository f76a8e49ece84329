"""Jobs whose mail a stored template writes, when they are accepted."""

from __future__ import annotations

import pytest

from jobs import intake, requests
from jobs.errors import InvalidRequest
from jobs.models import Batch, Job, Template
from tests.jobs.conftest import EMAIL

TEMPLATE = {
    "name": "order",
    "subject": "Order {{ order.id }} for {{ name }}",
    "html": "<p>Dear {{ name }}{% if note %}: {{ note }}{% endif %}</p>",
}
VARIABLES = {"name": "Ann", "order": {"id": 7}}


@pytest.fixture
def owner(caller):
    assert caller.post("/templates", TEMPLATE).status_code == 201
    return caller


def templated(variables=VARIABLES, **more):
    payload = {"to": "ann@example.org", "template": "order", "variables": variables}
    return {"type": "templated_email", "payload": payload | more}


@pytest.mark.parametrize(
    ("path", "status"), [("/jobs", 202), ("/addJob", 202), ("/submit_job", 201)], ids=lambda value: str(value)
)
def test_the_mail_is_written_when_the_job_is_accepted(owner, path, status):
    more = {"cc": ["bob@example.org"], "headers": {"X-Campaign": "7"}, "reply_to": "us@example.org"}

    answer = owner.post(path, templated(**more))

    assert answer.status_code == status
    job = Job.objects.get()
    assert (job.type, job.lane) == ("templated_email", "messages")
    assert job.recipients == ["ann@example.org", "bob@example.org"]
    assert job.payload == {
        "to": "ann@example.org",
        **more,
        "subject": "Order 7 for Ann",
        "text": "Dear Ann",
        "html": "<p>Dear Ann</p>",
        "template": {"name": "order", "version": 1},
    }


def test_how_its_reader_unsubscribes_is_kept_with_the_mail(owner, tunables):
    tunables(public_url="https://mail.example.org")

    assert owner.post("/jobs", templated(unsubscribe={"topic": "orders"})).status_code == 202

    assert Job.objects.get().payload["unsubscribe"] == {"topic": "orders"}


def test_what_was_written_does_not_change_with_the_template(owner):
    owner.post("/jobs", templated() | {"delay_seconds": 3600})
    owner.post("/templates/order/versions", {"subject": "Two", "text": "{{ name }}"})

    assert Job.objects.get().payload["subject"] == "Order 7 for Ann"
    owner.post("/jobs", templated({"name": "Ann"}))
    assert Job.objects.order_by("-id")[0].payload == {
        "to": "ann@example.org",
        "subject": "Two",
        "text": "Ann",
        "template": {"name": "order", "version": 2},
    }


def test_a_version_can_be_named(owner):
    owner.post("/templates/order/versions", {"subject": "Two", "text": "{{ name }}"})

    owner.post("/jobs", templated(version=1))

    assert Job.objects.get().payload["template"] == {"name": "order", "version": 1}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (templated({}), ["payload.variables.name", "payload.variables.order.id"]),
        (templated({"name": "Ann"}), ["payload.variables.order.id"]),
        (templated(VARIABLES | {"nmae": "Ann"}), ["payload.variables.nmae"]),
        (templated(VARIABLES | {"a\nb": 1}), ["payload.variables.'a\\nb'"]),
        (templated(template="other"), ["payload.template"]),
        (templated(template="Not A Name"), ["payload.template"]),
        (templated(template=7), ["payload.template"]),
        (templated(version=2), ["payload.version"]),
        (templated(version=0), ["payload.version"]),
        (templated(version=2**40), ["payload.version"]),
        (templated("Ann"), ["payload.variables"]),
        (templated(to="nobody"), ["payload.to"]),
        (templated(**{"from": "eve@elsewhere.example"}), ["payload.from"]),
        (templated(headers={"Subject": "x"}), ["payload.headers.Subject"]),
        (templated(subject="mine"), ["payload.subject"]),
        (templated(VARIABLES | {"note": "a\0b"}), ["payload.variables.note"]),
        (templated(VARIABLES | {"name": "Ann\r\nBcc: eve@example.org"}), ["payload.variables.name"]),
        (templated(VARIABLES | {"order": {"id": "7\n8"}}), ["payload.variables.order.id"]),
        (templated(VARIABLES | {"name": "x" * 2_000}), ["payload.template"]),
        ({"type": "templated_email", "payload": {"to": "ann@example.org"}}, ["payload.template"]),
    ],
)
def test_bad_input_is_refused_by_its_field_and_makes_no_job(owner, body, fields):
    answer = owner.post("/jobs", body)

    assert answer.status_code == 400
    assert sorted(answer.json()["errors"]) == sorted(fields)
    assert not Job.objects.exists()


def test_what_a_template_needs_is_told(owner):
    told = owner.post("/jobs", templated({})).json()["detail"]

    assert told == ("payload.variables.name: is required. order, version 1, needs name, order.id, and may have note.")


@pytest.mark.parametrize(("deep", "status"), [(50, 202), (51, 400), (300, 400), (900, 400)])
def test_variables_may_be_deep_but_not_without_end(owner, deep, status):
    value: object = "x"
    for _ in range(deep):
        value = [value]

    assert owner.post("/jobs", templated(VARIABLES | {"note": value})).status_code == status


def test_what_cannot_be_stored_is_refused_though_a_template_made_it(owner):
    owner.post("/templates", {"name": "nul", "subject": "s", "text": "{{ '%00' | url_decode }}"})

    answer = owner.post("/jobs", templated({}, template="nul"))

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["payload.template.text"])


def test_a_variable_that_is_missing_in_a_loop_is_told_with_its_line(owner):
    rows = "Hi\n{% for row in rows %}{{ row.sku }}{% endfor %}"
    owner.post("/templates", {"name": "rows", "subject": "s", "text": rows})

    answer = owner.post("/jobs", templated({"rows": [{}]}, template="rows"))

    assert answer.json()["errors"] == {"payload.variables": ["text, line 2: row.sku is undefined."]}


def test_a_mail_that_says_nothing_is_refused(owner):
    owner.post("/templates", {"name": "quiet", "subject": "s", "text": "{% if x %}x{% endif %}"})

    assert list(owner.post("/jobs", templated({}, template="quiet")).json()["errors"]) == ["payload.template"]


def test_a_null_for_what_the_template_minds_is_absent_too(owner):
    body = {"name": "maybe", "subject": "s", "text": "{% if order %}{{ order.id }}{% endif %}."}
    owner.post("/templates", body)

    statuses = [
        owner.post("/jobs", templated(variables, template="maybe")).status_code
        for variables in ({}, {"order": None}, {"order": {"id": 1}}, {"order": {}})
    ]

    assert statuses == [202, 202, 202, 400]


def test_templates_of_others_are_not_found(owner, stranger):
    answer = stranger.post("/jobs", templated())

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["payload.template"])


# ── The same request again ────────────────────────────────────────────────────────────────────


def test_a_repeated_request_gets_its_first_answer_whatever_has_become_of_the_template(owner):
    first = owner.post("/jobs", templated(), Idempotency_Key="k")
    owner.post("/templates/order/versions", {"subject": "Now {{ needs_this }}", "text": "x"})

    again = owner.post("/jobs", templated(), Idempotency_Key="k")

    assert (again.status_code, again.content) == (202, first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert owner.post("/jobs", templated()).status_code == 400
    assert Job.objects.count() == 1


def test_a_repeated_request_gets_its_first_answer_though_the_template_is_gone(owner, caller):
    first = owner.post("/jobs", templated(), Idempotency_Key="k")
    Template.objects.all().delete()

    assert owner.post("/jobs", templated(), Idempotency_Key="k").content == first.content


def test_a_key_with_other_variables_is_refused(owner):
    owner.post("/jobs", templated(), Idempotency_Key="k")

    answer = owner.post("/jobs", templated(VARIABLES | {"name": "Bob"}), Idempotency_Key="k")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_refused_request_may_be_repaired_under_its_key(owner):
    assert owner.post("/jobs", templated({}), Idempotency_Key="k").status_code == 400

    assert owner.post("/jobs", templated(), Idempotency_Key="k").status_code == 202


# ── Many ──────────────────────────────────────────────────────────────────────────────────────


def test_in_a_batch_each_is_written_or_refused_on_its_own(owner):
    jobs = [
        templated(VARIABLES | {"name": "Bob"}),
        templated({}),
        {"type": "email", "payload": EMAIL},
        templated(template="other"),
        templated() | {"idempotency_key": "k"},
    ]

    body = owner.post("/jobs/batch", {"jobs": jobs}).json()
    again = owner.post("/jobs/batch", {"jobs": jobs[-1:]}).json()

    assert [result.get("status") for result in body["results"]] == ["queued", None, "queued", None, "queued"]
    assert list(body["results"][1]["error"]["errors"]) == ["payload.variables.name", "payload.variables.order.id"]
    assert list(body["results"][3]["error"]["errors"]) == ["payload.template"]
    subjects = [job.payload["subject"] for job in Job.objects.order_by("id")]
    batch = Batch.objects.get(id=body["id"])
    assert subjects == ["Order 7 for Bob", "Hello", "Order 7 for Ann"]
    assert (batch.accepted, batch.rejected) == (3, 2)
    assert again["results"] == [body["results"][4] | {"index": 0, "replayed": True}]


def test_a_thousand_in_one_call(owner):
    jobs = [templated(VARIABLES | {"name": f"n{number}"}) for number in range(1_000)]

    body = owner.post("/jobs/batch", {"jobs": jobs}).json()

    assert (body["accepted"], body["rejected"]) == (1_000, 0)
    assert {job.payload["text"] for job in Job.objects.all()} == {f"Dear n{number}" for number in range(1_000)}


def test_plain_mails_ask_no_press(owner, monkeypatch):
    monkeypatch.setattr("jobs.press.fill", None)
    plain = {"type": "email", "payload": EMAIL}

    assert owner.post("/jobs", plain).status_code == 202
    assert owner.post("/jobs/batch", {"jobs": [plain, plain]}).json()["accepted"] == 2


def test_whoever_accepts_from_within_is_told_likewise(owner):
    with pytest.raises(InvalidRequest):
        intake.accept(requests.read(templated({})), owner_id=owner.user.pk, correlation_id="c")
