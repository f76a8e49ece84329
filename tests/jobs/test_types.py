"""The registry of types: what it takes, what it refuses, and what a type's own wishes come to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import pytest
from django.core.exceptions import ImproperlyConfigured
from msgspec import Meta, Struct

from jobs import intake, requests, types
from jobs.api import components
from jobs.errors import InvalidRequest
from jobs.models import Job
from jobs.states import DestinationKind, OnUnknown, Priority
from jobs.types import JobType, Retry
from tests.conftest import OURS


class UserPayload(Struct, forbid_unknown_fields=True):
    user_id: int


class OrderPayload(Struct, forbid_unknown_fields=True):
    placed_at: datetime
    size: Literal["small", "large"] = "small"
    count: Annotated[int, Meta(ge=1)] = 1
    lines: list[Annotated[str, Meta(min_length=1)]] = []


@pytest.fixture(autouse=True)
def own_types(monkeypatch):
    monkeypatch.setattr(types, "_types", dict(types._types))


def a_type(**wishes):
    type = JobType(**{"name": "verification", "payload": UserPayload} | wishes)
    types.register(type)
    return type


def test_a_type_is_found_by_its_name():
    own = a_type()

    assert types.find("verification") is own
    assert types.names() == sorted([*OURS, "verification"])
    assert types.find("fax") is types.find(None) is types.find(["email"]) is None


@pytest.mark.parametrize("name", ["", "Email", "ü", "-x", "a b", "a/b", "a" * 101])
def test_a_name_that_no_name_can_be_is_refused(name):
    with pytest.raises(ImproperlyConfigured, match="1 to 100 of a-z"):
        a_type(name=name)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"from_text": "usr"}, "'usr', which is no field of UserPayload"),
        ({"time_limit_seconds": 0}, "above 0"),
        ({"time_limit_seconds": float("inf")}, "above 0"),
        ({"retry": Retry(attempts=0)}, "1 to 50"),
        ({"retry": Retry(attempts=51)}, "1 to 50"),
        ({"retry": Retry(base_seconds=-1.0)}, "retry.base_seconds"),
        ({"retry": Retry(cap_seconds=float("nan"))}, "retry.cap_seconds"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_when_it_is_registered(wish, says):
    with pytest.raises(ImproperlyConfigured, match=f"Job type 'verification': .*{says}"):
        a_type(**wish)


def test_a_name_is_taken_once():
    with pytest.raises(ImproperlyConfigured, match="two job types 'email'"):
        a_type(name="email")


def test_two_shapes_of_one_name_would_be_one_in_the_schema():
    a_type()

    a_type(name="second")
    with pytest.raises(ImproperlyConfigured, match="'verification' and 'third' are different classes of one name"):
        a_type(name="third", payload=type("UserPayload", (Struct,), {}))


def test_its_payload_is_read_at_the_door():
    a_type()

    request = requests.read({"type": "verification", "payload": {"user_id": 456}})

    assert (request.payload, request.recipients) == ({"user_id": 456}, [])
    with pytest.raises(InvalidRequest) as caught:
        requests.read({"type": "verification", "payload": {"user_id": "456", "usr": 1}})
    assert set(caught.value.fields) == {"payload.user_id", "payload.usr"}


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"placed_at": "yesterday"}, "payload.placed_at", "Invalid RFC3339"),
        ({"size": "huge"}, "payload.size", "Invalid enum value 'huge'"),
        ({"count": 0}, "payload.count", ">= 1"),
        ({"lines": ["a", ""]}, "payload.lines[1]", "length >= 1"),
        ({"lines": "a"}, "payload.lines", "Give a list"),
        ({"lne": []}, "payload.lne", "is not a field"),
    ],
)
def test_a_payload_may_have_any_kind_that_msgspec_knows(change, path, says):
    a_type(payload=OrderPayload)
    body = {"placed_at": "2026-11-28T05:00:00Z"} | change

    with pytest.raises(InvalidRequest) as caught:
        requests.read({"type": "verification", "payload": body})

    assert list(caught.value.fields) == [path]
    assert says in caught.value.fields[path][0]


def test_plain_text_may_stand_for_one_field():
    a_type(payload=OrderPayload, from_text="placed_at")

    request = requests.read({"name": "verification", "payload": "2026-11-28T05:00:00Z"})

    assert request.payload["placed_at"] == "2026-11-28T05:00:00Z"
    with pytest.raises(InvalidRequest, match=r"payload.placed_at"):
        requests.read({"name": "verification", "payload": "yesterday"})


def test_it_stands_in_the_openapi_document():
    a_type(from_text="user_id")

    found = components.schemas()

    assert found["UserPayload"]["required"] == ["user_id"]
    (typed,) = [
        job for job in found["NewJob"]["anyOf"] if job["properties"].get("type", {}).get("const") == "verification"
    ]
    assert {"type": "string", "description": "Stands for `user_id`."} in typed["properties"]["payload"]["anyOf"]


def test_an_unknown_type_is_told_all_that_there_are():
    a_type()

    with pytest.raises(InvalidRequest, match=r"type: is not a known type\. Use one of: .*, verification, "):
        requests.read({"type": "fax", "payload": {}})


def test_a_job_has_its_own_wishes_else_its_type_s(make_user):
    owner_id = make_user().id
    a_type(priority=Priority.LOW, retry=Retry(attempts=7), on_unknown=OnUnknown.RESEND)
    body = {"type": "verification", "payload": {"user_id": 1}}

    plain = accepted(body, owner_id)
    own = accepted(body | {"priority": "high", "max_attempts": 2, "on_unknown": "assume_sent"}, owner_id)

    assert (plain.priority, plain.max_attempts, plain.on_unknown) == ("low", 7, "resend")
    assert (own.priority, own.max_attempts, own.on_unknown) == ("high", 2, "assume_sent")


def test_the_installation_comes_before_the_type(make_user, tunables):
    a_type(on_unknown=OnUnknown.RESEND)
    tunables(on_unknown={"verification": "assume_sent"})

    assert accepted({"type": "verification", "payload": {"user_id": 1}}, make_user().id).on_unknown == "assume_sent"


def accepted(body, owner_id) -> Job:
    answer = intake.accept(requests.read(body), owner_id=owner_id, correlation_id="c")
    return Job.objects.get(id=answer.job_id)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"retry": Retry(schedule=(1.0, -2.0))}, "retry.schedule"),
        ({"retry": Retry(schedule=(float("inf"),))}, "retry.schedule"),
        ({"destination": DestinationKind.WEBHOOK}, "no field `destination`"),
    ],
)
def test_a_schedule_or_a_destination_that_makes_no_sense_is_refused(wishes, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        a_type(**wishes)
