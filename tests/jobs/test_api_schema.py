"""The OpenAPI document: valid, complete, and true of what the API really does."""

from __future__ import annotations

from io import StringIO

import jsonschema
import msgspec
import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from jobs.api import examples
from tests.jobs.conftest import EMAIL, Caller, make_dead_letter, make_job, make_schedule

OPTIONAL_BODIES = {"requeueFailedJob", "discardFailedJob", "previewTemplate"}
NOT_DESCRIBED = {"/", "/schema", "/docs", "/admin", "/inbox"}  # pages, and the document itself


@pytest.fixture(scope="module")
def document(django_db_setup):
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return msgspec.json.decode(out.getvalue())


def check(document, schema, value):
    jsonschema.Draft202012Validator(schema | {"components": document["components"]}).validate(value)


def operation(document, method, path):
    return document["paths"][path][method.lower()]


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")


def test_it_is_served_as_json_to_everyone(nobody, document):
    answer = nobody.get("/schema", Accept="text/html")

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert msgspec.json.decode(answer.content)["paths"].keys() == document["paths"].keys()


def test_it_describes_every_address(document):
    def addresses(patterns, prefix=""):
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver) and not route.startswith("admin/"):
                yield from addresses(pattern.url_patterns, route)
            elif isinstance(pattern, URLPattern) and pattern.callback.__name__ != "unknown":
                yield "/" + route.replace("<uuid:id>", "{id}").replace("<int:id>", "{id}").replace(
                    "<str:name>", "{name}"
                ).replace("<path:address>", "{address}").replace("<str:token>", "{token}")

    served = set(addresses(get_resolver().url_patterns))

    assert set(document["paths"]) == served - NOT_DESCRIBED


def test_only_the_open_doors_are_described_as_open(document):
    is_open = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if not operation.get("security")
    }

    assert is_open == {
        "/signup",
        "/login",
        "/refreshToken",
        "/unsubscribe/{token}",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
    }


def test_every_operation_has_a_name_a_summary_and_the_problems_that_can_happen(document):
    operations = [o for operations in document["paths"].values() for o in operations.values()]

    assert len({o["operationId"] for o in operations}) == len(operations)
    for o in operations:
        assert o["summary"]
        if o.get("security"):
            assert {"401", "500", "503"} <= set(o["responses"])
        if "requestBody" in o:
            assert {"400", "413"} <= set(o["responses"])
            assert o["requestBody"]["required"] is (o["operationId"] not in OPTIONAL_BODIES)


def test_every_component_that_is_named_exists_and_is_used(document):
    text = msgspec.json.encode(document).decode()

    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


@pytest.mark.parametrize("example", examples.JOBS.values(), ids=examples.JOBS)
@pytest.mark.parametrize("path", ["/addJob", "/jobs"])
def test_every_example_of_a_job_fits_its_schema_and_is_accepted(caller, document, path, example):
    body = operation(document, "POST", path)["requestBody"]["content"]["application/json"]
    for name, destination in zip(("shop", "on-call"), examples.DESTINATIONS.values(), strict=True):
        assert caller.put(f"/destinations/{name}", destination).status_code == 201

    caller.post("/templates", next(iter(examples.TEMPLATES.values())))
    check(document, body["schema"], example)
    assert caller.post(path, example).status_code == 202


def test_the_example_of_a_named_job_fits_its_schema_and_is_accepted(caller, document):
    (example,) = examples.NAMED_JOBS.values()
    body = operation(document, "POST", "/submit_job")["requestBody"]["content"]["application/json"]

    check(document, body["schema"], example)
    assert caller.post("/submit_job", example).status_code == 201


@pytest.mark.parametrize("example", examples.SCHEDULES.values(), ids=examples.SCHEDULES)
def test_every_example_of_a_schedule_fits_its_schema_and_is_accepted(caller, document, example):
    body = operation(document, "POST", "/schedules")["requestBody"]["content"]["application/json"]

    check(document, body["schema"], example)
    assert caller.post("/schedules", example).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"cron": 7},
        {"missed": "maybe"},
        {"delay_seconds": 1},
        {"type": "fax"},
        {"priority": 1},
    ],
)
def test_what_the_schema_refuses_of_a_schedule_the_api_refuses(caller, document, change):
    schema = operation(document, "POST", "/schedules")["requestBody"]["content"]["application/json"]["schema"]
    body = {"name": "n", "cron": "@daily", "type": "email", "payload": EMAIL} | change

    with pytest.raises(jsonschema.ValidationError):
        check(document, schema, body)
    assert caller.post("/schedules", body).status_code == 400


TEMPLATES = [
    ("/templates", examples.TEMPLATES, 201),
    ("/templates/{name}/versions", examples.VERSIONS, 201),
    ("/templates/{name}/preview", examples.PREVIEWS, 200),
]


@pytest.mark.parametrize(
    ("path", "example", "status"),
    [(path, example, status) for path, examples_, status in TEMPLATES for example in examples_.values()],
)
def test_every_example_of_a_template_fits_its_schema_and_is_understood(caller, document, path, example, status):
    if path != "/templates":
        caller.post("/templates", examples.TEMPLATES["order-shipped"])
    body = operation(document, "POST", path)["requestBody"]["content"]["application/json"]

    check(document, body["schema"], example)
    assert caller.post(path.replace("{name}", "order-shipped"), example).status_code == status


@pytest.mark.parametrize("example", examples.SUPPRESSIONS.values(), ids=examples.SUPPRESSIONS)
def test_every_example_of_a_suppression_fits_its_schema_and_is_accepted(caller, document, example):
    body = operation(document, "POST", "/suppressions")["requestBody"]["content"]["application/json"]

    check(document, body["schema"], example)
    assert caller.post("/suppressions", example).status_code == 200


DECISIONS = [
    ("/failedJobs/{id}/requeue", examples.REQUEUES),
    ("/failedJobs/{id}/resolve", examples.DECISIONS),
    ("/failedJobs/redrive", examples.REDRIVES),
    ("/failedJobs/discard", examples.DISCARDS),
    ("/failedJobs/resolve", examples.RESOLUTIONS),
]


@pytest.mark.parametrize(
    ("path", "example"), [(path, example) for path, examples_ in DECISIONS for example in examples_.values()]
)
def test_every_example_of_a_decision_fits_its_schema_and_is_understood(caller, document, path, example):
    letter = make_dead_letter(caller.user, reason="unknown" if path.endswith("}/resolve") else "permanent")
    body = operation(document, "POST", path)["requestBody"]["content"]["application/json"]

    check(document, body["schema"], example)
    assert caller.post(path.replace("{id}", str(letter.id)), example).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"type": "fax", "payload": {}},
        {"type": "email", "payload": {"to": "ann@example.org"}},
        {"email": "ann@example.org"},
        {"type": "email", "payload": EMAIL, "colour": "red"},
        {"type": "email", "payload": EMAIL, "max_attempts": 0},
        {"type": "email", "payload": EMAIL, "priority": "urgent"},
        {"type": "email", "payload": EMAIL, "idempotency_key": "k" * 256},
    ],
)
def test_what_the_schema_refuses_the_api_refuses(caller, document, body):
    schema = operation(document, "POST", "/jobs")["requestBody"]["content"]["application/json"]["schema"]

    with pytest.raises(jsonschema.ValidationError):
        check(document, schema, body)
    assert caller.post("/jobs", body).status_code == 400


def test_every_answer_is_one_that_the_document_promises(caller, nobody, document):
    job = make_job(caller.user, status="failed", last_error={"kind": "refused", "code": 550, "detail": "No"})
    dead = make_dead_letter(caller.user)
    unknown, other = (make_dead_letter(caller.user, reason="unknown") for _ in range(2))
    scheduled = make_schedule(caller.user)
    new = {"name": "n", "cron": "@daily", "type": "email", "payload": EMAIL}
    missing = "019b0000-0000-7000-8000-000000000000"
    calls: list[tuple[Caller, str, str, str, object]] = [
        (caller, "POST", "/addJob", "/addJob", {"email": "ann@example.org", "name": "Ann"}),
        (caller, "POST", "/addJob", "/addJob", {}),
        (nobody, "POST", "/addJob", "/addJob", {}),
        (caller, "POST", "/submit_job", "/submit_job", {"name": "email", "payload": EMAIL}),
        (caller, "GET", "/jobs", "/jobs?limit=1", None),
        (caller, "GET", "/jobs", "/jobs?limit=0", None),
        (caller, "GET", "/jobs/{id}", f"/jobs/{job.id}", None),
        (caller, "GET", "/jobs/{id}", f"/jobs/{missing}", None),
        (caller, "POST", "/jobs/{id}/cancel", f"/jobs/{job.id}/cancel", None),
        (caller, "GET", "/failedJobs", "/failedJobs", None),
        (caller, "GET", "/failedJobs/{id}", f"/failedJobs/{dead.id}", None),
        (caller, "POST", "/failedJobs/{id}/requeue", f"/failedJobs/{dead.id}/requeue", None),
        (caller, "POST", "/failedJobs/{id}/requeue", f"/failedJobs/{other.id}/requeue", None),
        (caller, "POST", "/failedJobs/redrive", "/failedJobs/redrive", {"ids": [other.id, dead.id]}),
        (caller, "POST", "/failedJobs/redrive", "/failedJobs/redrive", {}),
        (caller, "POST", "/failedJobs/discard", "/failedJobs/discard", {"type": "email", "preview": False}),
        (caller, "POST", "/failedJobs/{id}/discard", f"/failedJobs/{dead.id}/discard", None),
        (caller, "POST", "/failedJobs/{id}/resolve", f"/failedJobs/{unknown.id}/resolve", {"decision": "drop"}),
        (caller, "POST", "/failedJobs/{id}/resolve", f"/failedJobs/{unknown.id}/resolve", {"decision": "x"}),
        (caller, "POST", "/failedJobs/resolve", "/failedJobs/resolve", {"reason": "unknown", "decision": "drop"}),
        (caller, "GET", "/failedJobs/{id}", f"/failedJobs/{unknown.id}", None),
        (caller, "POST", "/schedules", "/schedules", new),
        (caller, "POST", "/schedules", "/schedules", new),
        (caller, "POST", "/schedules", "/schedules", {}),
        (caller, "GET", "/schedules", "/schedules", None),
        (caller, "GET", "/schedules", "/schedules?paused=perhaps", None),
        (caller, "GET", "/schedules/{id}", f"/schedules/{scheduled.id}", None),
        (caller, "GET", "/schedules/{id}", f"/schedules/{missing}", None),
        (caller, "POST", "/schedules/{id}/pause", f"/schedules/{scheduled.id}/pause", None),
        (caller, "POST", "/schedules/{id}/resume", f"/schedules/{scheduled.id}/resume", None),
        (caller, "POST", "/schedules/{id}/resume", f"/schedules/{missing}/resume", None),
        (caller, "DELETE", "/schedules/{id}", f"/schedules/{scheduled.id}", None),
        (caller, "DELETE", "/schedules/{id}", f"/schedules/{scheduled.id}", None),
        (caller, "GET", "/workers", "/workers", None),
        (caller, "POST", "/templates", "/templates", examples.TEMPLATES["order-shipped"]),
        (caller, "POST", "/templates", "/templates", examples.TEMPLATES["order-shipped"]),
        (caller, "POST", "/templates", "/templates", {"name": "x", "subject": "{{", "text": "x"}),
        (caller, "GET", "/templates", "/templates?limit=1", None),
        (caller, "GET", "/templates/{name}", "/templates/order-shipped?version=1", None),
        (caller, "GET", "/templates/{name}", "/templates/order-shipped?version=2", None),
        (caller, "POST", "/templates/{name}/versions", "/templates/order-shipped/versions", examples.SHIPPED),
        (caller, "GET", "/templates/{name}/versions", "/templates/order-shipped/versions", None),
        (caller, "POST", "/templates/{name}/preview", "/templates/order-shipped/preview", None),
        (caller, "POST", "/templates/{name}/preview", "/templates/order-shipped/preview", {"variables": {}}),
        (caller, "POST", "/suppressions", "/suppressions", examples.SUPPRESSIONS["no more mail at all"]),
        (caller, "POST", "/suppressions", "/suppressions", {"addresses": []}),
        (caller, "GET", "/suppressions", "/suppressions?limit=1", None),
        (caller, "GET", "/suppressions", "/suppressions?reason=none", None),
        (caller, "DELETE", "/suppressions/{address}", "/suppressions/ann@example.org", None),
        (caller, "DELETE", "/suppressions/{address}", "/suppressions/ann@example.org", None),
        (caller, "DELETE", "/suppressions/{address}", "/suppressions/ann", None),
        (nobody, "POST", "/login", "/login", {"username": "x", "password": "y"}),
        (nobody, "POST", "/signup", "/signup", {"username": "x", "password": "y"}),
        (nobody, "POST", "/refreshToken", "/refreshToken", {"refresh_token": "x"}),
        (nobody, "GET", "/health/live", "/health/live", None),
    ]
    for who, method, path, url, body in calls:
        answer = {"GET": who.get, "DELETE": who.delete}[method](url) if method != "POST" else who.post(url, body)

        promised = operation(document, method, path)["responses"][str(answer.status_code)]
        check(document, promised["content"][answer["Content-Type"]]["schema"], answer.json())
        assert {name.lower() for name in promised["headers"]} >= {"x-correlation-id"}


def test_the_page_takes_nothing_from_elsewhere(nobody):
    page = nobody.get("/docs").content.decode()

    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page
    assert "//cdn" not in page
    assert "https://" not in page


def test_the_front_page_leads_to_the_docs_and_admin_to_its_slash(nobody):
    assert nobody.get("/")["Location"] == "/docs"
    assert nobody.get("/admin")["Location"] == "/admin/"
