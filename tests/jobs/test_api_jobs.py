import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.api.filters import _first_id
from tests.jobs.conftest import EMAIL, make_job

FIELDS = {
    "id",
    "type",
    "status",
    "priority",
    "attempts",
    "max_attempts",
    "run_at",
    "expires_at",
    "created_at",
    "updated_at",
    "correlation_id",
    "idempotency_key",
    "dedupe_key",
    "payload",
    "result",
    "last_error",
}
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def ids(answer):
    return [row["id"] for row in answer.json()["results"]]


def walk(caller, url, direction):
    """All ids from `url` on, following `next` or `previous`, page by page."""
    pages = []
    while url:
        answer = caller.get(url)
        assert answer.status_code == 200
        pages.append(ids(answer))
        url = answer.json()[direction]
    return pages


# ── Read ──────────────────────────────────────────────────────────────────────────────────────


def test_a_job_reads_back_with_exactly_the_fields_of_the_contract(caller):
    made = caller.post(
        "/addJob",
        {
            "type": "email",
            "payload": EMAIL,
            "idempotency_key": "i",
            "dedupe_key": "d",
            "expires_at": "2090-01-01T02:00:00+02:00",
        },
        X_Correlation_ID="c",
    )

    job = caller.get(made["Location"]).json()

    assert set(job) == FIELDS
    assert job | {"id": None, "run_at": None, "created_at": None, "updated_at": None} == {
        "id": None,
        "type": "email",
        "status": "queued",
        "priority": "default",
        "attempts": 0,
        "max_attempts": 5,
        "run_at": None,
        "expires_at": "2090-01-01T00:00:00Z",
        "created_at": None,
        "updated_at": None,
        "correlation_id": "c",
        "idempotency_key": "i",
        "dedupe_key": "d",
        "payload": EMAIL,
        "result": None,
        "last_error": None,
    }
    assert all(UTC_TIME.fullmatch(job[name]) for name in ("run_at", "created_at", "updated_at"))


def test_a_failed_job_tells_its_last_error(caller):
    error = {"kind": "refused", "code": 550, "detail": "No such user"}
    job = make_job(caller.user, status="failed", last_error=error, attempts=3)

    answer = caller.get(f"/jobs/{job.id}").json()

    assert (answer["last_error"], answer["attempts"]) == (error, 3)


def test_a_job_that_waits_beside_an_unknown_shows_what_holds_it(caller):
    holder = uuid4()
    job = make_job(caller.user, status="unknown", held_behind=holder, result={"held_behind": str(holder)})

    answer = caller.get(f"/jobs/{job.id}").json()

    assert (answer["status"], answer["result"]) == ("unknown", {"held_behind": str(holder)})


def test_a_job_whose_body_retention_took_reads_back_without_it(caller):
    job = make_job(caller.user, status="completed", payload=None)

    assert caller.get(f"/jobs/{job.id}").json()["payload"] is None


def test_the_jobs_of_others_cannot_be_told_from_none(caller, stranger):
    theirs = make_job(stranger.user)

    seen = caller.get(f"/jobs/{theirs.id}")
    missing = caller.get(f"/jobs/{uuid4()}")

    assert (seen.status_code, missing.status_code) == (404, 404)
    assert {k: v for k, v in seen.json().items() if k != "correlation_id"} == {
        k: v for k, v in missing.json().items() if k != "correlation_id"
    }
    assert ids(caller.get("/jobs")) == []


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────


def test_pages_show_every_job_once_newest_first_forth_and_back(caller, stranger):
    mine = [str(make_job(caller.user).id) for _ in range(7)][::-1]
    make_job(stranger.user)

    forth = walk(caller, "/jobs?limit=3", "next")
    last = caller.get("/jobs?limit=3")
    while last.json()["next"]:
        last = caller.get(last.json()["next"])
    back = walk(caller, last.json()["previous"], "previous")

    assert forth == [mine[0:3], mine[3:6], mine[6:7]]
    assert back == [mine[3:6], mine[0:3]]


def test_a_page_that_ends_exactly_at_the_last_job_has_no_next(caller):
    for _ in range(4):
        make_job(caller.user)

    assert [len(page) for page in walk(caller, "/jobs?limit=2", "next")] == [2, 2]


def test_jobs_that_arrive_between_two_pages_move_nothing(caller):
    old = [str(make_job(caller.user).id) for _ in range(4)][::-1]
    first = caller.get("/jobs?limit=2")
    make_job(caller.user)

    second = caller.get(first.json()["next"])

    assert ids(first) + ids(second) == old


def test_links_are_whole_urls_that_keep_the_filters(caller):
    for _ in range(3):
        make_job(caller.user, status="cancelled")

    link = caller.get("/jobs?status=cancelled&limit=1").json()["next"]

    assert link.startswith("http://testserver/jobs?")
    assert "status=cancelled" in link
    assert "limit=1" in link


def test_the_first_page_and_an_empty_list_lead_nowhere_else(caller):
    assert caller.get("/jobs").json() == {"results": [], "next": None, "previous": None}


def test_a_list_shows_fifty_unless_told_otherwise(caller):
    for _ in range(51):
        make_job(caller.user)

    assert len(ids(caller.get("/jobs"))) == 50
    assert len(ids(caller.get("/jobs?limit=100"))) == 51


def test_a_page_costs_one_query_by_key_and_nobody_counts(caller):
    for _ in range(5):
        make_job(caller.user)
    deep = caller.get("/jobs?limit=2").json()["next"]

    with CaptureQueriesContext(connection) as queries:
        caller.get(deep)

    (query,) = [q["sql"] for q in queries]
    assert "COUNT" not in query.upper()
    assert "OFFSET" not in query.upper()
    assert '"jobs_job"."id" <' in query


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "99999999999999999999", "²", "\0"])
def test_a_limit_that_is_none_is_refused_by_name(caller, limit):
    answer = caller.get("/jobs", {"limit": limit})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["limit"])


@pytest.mark.parametrize("cursor", ["", "x", "Pg", "PA", "\0", "ü", "PDEyMw", "a" * 5000])
def test_a_cursor_that_is_none_is_refused_by_name(caller, cursor):
    answer = caller.get("/jobs", {"cursor": cursor})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cursor"])


# ── Filters ───────────────────────────────────────────────────────────────────────────────────


def test_filters_narrow_the_list_together(caller):
    wanted = make_job(caller.user, status="cancelled", recipients=["bob@example.org", "ann@example.org"])
    make_job(caller.user, status="queued", recipients=["bob@example.org"])
    make_job(caller.user, status="cancelled", recipients=["eve@example.org"])

    answer = caller.get("/jobs", {"status": "cancelled", "recipient": "Bob@EXAMPLE.org".replace("B", "b")})

    assert ids(answer) == [str(wanted.id)]


def test_type_and_since_narrow_the_list(caller):
    old = make_job(caller.user, type="welcome_email", created_at=timezone.now() - timedelta(hours=2))
    new = make_job(caller.user)
    hour_ago = (timezone.now() - timedelta(hours=1)).isoformat()

    assert ids(caller.get("/jobs", {"type": "welcome_email"})) == [str(old.id)]
    assert ids(caller.get("/jobs", {"since": hour_ago})) == [str(new.id)]


def test_since_reads_no_job_whose_id_is_older(caller):
    """The id begins with its time, and the key is the index: what is older is not even looked at."""
    with CaptureQueriesContext(connection) as queries:
        caller.get("/jobs", {"since": "2031-05-01T00:00:00Z"})

    (bound,) = re.findall(r"\"id\" >= '?([0-9a-f-]{32,36})", queries[0]["sql"])
    assert UUID(bound).version == 7
    written_at = datetime.fromtimestamp((UUID(bound).int >> 80) / 1000, UTC)
    assert written_at == datetime(2031, 4, 30, 22, tzinfo=UTC)  # two hours of doubt between two clocks


@pytest.mark.parametrize("skew", [timedelta(hours=1), -timedelta(hours=1)], ids=["fast", "slow"])
def test_since_finds_what_an_api_with_a_wrong_clock_has_accepted(caller, skew):
    job = make_job(caller.user, id=_first_id(timezone.now() + skew))

    minute_ago = (timezone.now() - timedelta(minutes=1)).isoformat()

    assert ids(caller.get("/jobs", {"since": minute_ago})) == [str(job.id)]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("status", "sent", "queued"),
        ("status", "", "queued"),
        ("type", "fax", "welcome_email"),
        ("type", "\0", "welcome_email"),
        ("recipient", "nobody", "ann@example.org"),
        ("recipient", "a\0@example.org", "ann@example.org"),
        ("recipient", "a@example.org,b@example.org", "ann@example.org"),
        ("since", "yesterday", "2030-01-31T12:00:00Z"),
        ("since", "2030-01-01T00:00:00", "zone"),
        ("since", "0001-01-01T00:00:00+14:00", "zone"),
        ("since", "\0", "zone"),
    ],
)
def test_a_filter_that_is_none_names_itself_and_what_is_allowed(caller, name, value, allowed):
    answer = caller.get("/jobs", {name: value})

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])
    assert allowed in answer.json()["errors"][name][0]


@pytest.mark.parametrize("since", ["0001-01-02T00:00:00Z", "1969-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_time_are_times(caller, since):
    assert caller.get("/jobs", {"since": since}).status_code == 200


def test_a_misspelt_parameter_is_named_instead_of_listing_everything(caller):
    answer = caller.get("/jobs?stauts=failed&limit=5")

    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["stauts"])
    assert "status" in answer.json()["errors"]["stauts"][0]
