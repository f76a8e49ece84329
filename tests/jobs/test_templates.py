"""The calls of templates: made, added to, read, previewed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from jobs.models import Job, Template, TemplateVersion
from jobs.prints import MOST_SOURCE_CHARACTERS, MOST_SUBJECT_CHARACTERS
from tests.jobs.conftest import Caller

SHIPPED = {
    "name": "order-shipped",
    "subject": "Order {{ order.id }}",
    "html": "<p>Dear {{ name }}{% if note %}: {{ note }}{% endif %}</p>",
    "example": {"name": "Ann", "order": {"id": 7}},
}


def test_a_template_is_made_with_the_variables_that_it_needs(caller):
    answer = caller.post("/templates", SHIPPED)

    body = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, "/templates/order-shipped?version=1")
    assert (body["name"], body["version"], body["newest"], body["text"]) == ("order-shipped", 1, 1, None)
    assert body["variables"] == [
        {"name": "name", "required": True},
        {"name": "note", "required": False},
        {"name": "order.id", "required": True},
    ]
    assert caller.get("/templates/order-shipped").json() == body


def test_versions_are_counted_and_the_newest_is_current(caller):
    caller.post("/templates", SHIPPED)
    second = caller.post("/templates/order-shipped/versions", {"subject": "Two", "text": "2"})

    assert (second.status_code, second["Location"]) == (201, "/templates/order-shipped?version=2")
    assert caller.get("/templates/order-shipped").json() == second.json()
    first = caller.get("/templates/order-shipped?version=1").json()
    assert (first["subject"], first["version"], first["newest"]) == (SHIPPED["subject"], 1, 2)
    listed = caller.get("/templates/order-shipped/versions").json()
    assert [version["version"] for version in listed["results"]] == [2, 1]


def test_lists_are_paged_by_cursor(caller):
    for number in range(3):
        caller.post("/templates", SHIPPED | {"name": f"t{number}"})

    first = caller.get("/templates?limit=2").json()
    rest = caller.get(first["next"].removeprefix("http://testserver")).json()

    assert [row["name"] for row in first["results"] + rest["results"]] == ["t2", "t1", "t0"]
    assert rest["next"] is None
    assert caller.get("/templates?status=queued").status_code == 400
    assert caller.get("/templates/t0/versions?limit=0").status_code == 400


def test_templates_belong_to_their_owner(caller, stranger):
    caller.post("/templates", SHIPPED)

    assert stranger.get("/templates").json()["results"] == []
    assert stranger.get("/templates/order-shipped").status_code == 404
    assert stranger.post("/templates/order-shipped/versions", {"subject": "x", "text": "x"}).status_code == 404
    assert stranger.post("/templates/order-shipped/preview").status_code == 404
    assert stranger.post("/templates", SHIPPED).status_code == 201


def test_a_name_is_taken_once(caller):
    caller.post("/templates", SHIPPED)

    again = caller.post("/templates", SHIPPED | {"subject": "Another"})

    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert "/templates/order-shipped/versions" in again.json()["detail"]
    assert TemplateVersion.objects.count() == 1


def test_versions_that_come_at_once_have_numbers_of_their_own(committed, make_user):
    user = make_user()
    Caller(user).post("/templates", SHIPPED)

    def add(number):
        try:
            body = {"subject": f"{number}", "text": "x"}
            return Caller(user).post("/templates/order-shipped/versions", body).json()["version"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(add, range(8)))

    assert sorted(numbers) == list(range(2, 10))
    assert Template.objects.get().newest == 9


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"name": "Order Shipped"}, "name", "a-z"),
        ({"name": ""}, "name", "a-z"),
        ({"subject": "{{ order.id"}, "subject", "line 1"),
        ({"html": "<p>\n{% if x %}"}, "html", "endif"),
        ({"html": "<p>\n{{ x | shout }}"}, "html", "line 2: unknown filter 'shout'"),
        ({"text": "{% include 'other' %}"}, "text", "include"),
        ({"subject": " "}, "subject", "empty"),
        ({"subject": "one\ntwo"}, "subject", "line break"),
        ({"subject": "x" * (MOST_SUBJECT_CHARACTERS + 1)}, "subject", "Shorten"),
        ({"html": "x" * (MOST_SOURCE_CHARACTERS + 1)}, "html", "Shorten"),
        ({"html": None}, "text", "Give text, html or both"),
        ({"html": ""}, "text", "Give text, html or both"),
        ({"html": "a\0b"}, "html", "NUL"),
        ({"example": {"a": "\0"}}, "example.a", "NUL"),
        ({"example": []}, "example", "object"),
        ({"html": 7}, "html", "string"),
        ({"colour": "red"}, "colour", "not a field"),
    ],
)
def test_bad_input_is_refused_by_its_field(caller, change, field, word):
    answer = caller.post("/templates", SHIPPED | change)

    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert word in answer.json()["errors"][field][0]
    assert not Template.objects.exists()


def test_a_broken_version_is_not_kept(caller):
    caller.post("/templates", SHIPPED)

    answer = caller.post("/templates/order-shipped/versions", {"subject": "x", "text": "{{"})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["text"])
    assert caller.get("/templates/order-shipped").json()["version"] == 1


@pytest.mark.parametrize("deep", [51, 900, 100_000])
def test_an_example_may_not_be_nested_without_end(caller, deep):
    body = b'{"name": "x", "subject": "s", "text": "t", "example": {"a": ' + b"[" * deep + b"]" * deep + b"}}"

    answer = caller.post("/templates", body)

    assert (answer.status_code, Template.objects.exists()) == (400, False)


@pytest.mark.parametrize("version", ["0", "x", "-1", "9999999999", "1.5", ""])
def test_a_version_that_is_no_number_is_named(caller, version):
    caller.post("/templates", SHIPPED)

    answer = caller.get(f"/templates/order-shipped?version={version}")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["version"])


def test_a_version_that_there_is_not_is_not_found(caller):
    caller.post("/templates", SHIPPED)

    assert caller.get("/templates/order-shipped?version=2").status_code == 404
    assert caller.get("/templates/other").status_code == 404


# ── Previews ──────────────────────────────────────────────────────────────────────────────────


def test_a_preview_is_the_mail_and_sends_nothing(caller):
    caller.post("/templates", SHIPPED)
    caller.post("/templates/order-shipped/versions", {"subject": "Two", "text": "{{ x }}", "example": {"x": 2}})

    mine = caller.post(
        "/templates/order-shipped/preview", {"version": 1, "variables": {"name": "<Bob>", "order": {"id": 8}}}
    )

    assert mine.status_code == 200
    assert mine.json() == {
        "version": 1,
        "subject": "Order 8",
        "text": "Dear <Bob>",
        "html": "<p>Dear &lt;Bob&gt;</p>",
    }
    assert caller.post("/templates/order-shipped/preview").json()["text"] == "2"
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("variables", "errors"),
    [
        ({}, ["variables.name", "variables.order.id"]),
        ({"name": "Ann", "order": {}}, ["variables.order.id"]),
        ({"name": "Ann", "order": "seven"}, ["variables.order.id"]),
        ({"name": "Ann", "order": {"id": 1}, "nmae": 1}, ["variables.nmae"]),
    ],
)
def test_a_preview_names_variables_that_are_missing_or_unknown(caller, variables, errors):
    caller.post("/templates", SHIPPED)

    answer = caller.post("/templates/order-shipped/preview", {"variables": variables})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, errors)
    assert "needs name, order.id, and may have note" in answer.json()["detail"]


@pytest.mark.parametrize(("body", "field"), [({"version": 0}, "version"), ({"variables": []}, "variables")])
def test_a_preview_names_what_it_cannot_read(caller, body, field):
    caller.post("/templates", SHIPPED)

    answer = caller.post("/templates/order-shipped/preview", body)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_nobody_makes_templates_without_a_token(nobody):
    assert nobody.post("/templates", SHIPPED).status_code == 401
