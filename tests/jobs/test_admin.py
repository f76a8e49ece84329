import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jobs import queue
from jobs.admin.read_only import COUNTED
from jobs.models import Attempt, Event, Job, Worker
from tests.jobs.conftest import make_dead_letter, make_job

DESK = "/admin/jobs/deadletter/"


def staff(*permissions):
    user = User.objects.create(username=f"staff-{'-'.join(permissions)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client, user


@pytest.fixture
def owner(make_user):
    return make_user()


@pytest.fixture
def desk(db):
    """Somebody who may look at dead letters and decide them."""
    client, _ = staff("view_deadletter", "change_deadletter")
    return client


@pytest.fixture
def rung(monkeypatch):
    jobs = []
    monkeypatch.setattr(queue, "push", lambda waiting: jobs.extend(waiting) or True)
    return jobs


# ── Who may ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ["deadletter", "job", "worker"])
def test_only_staff_with_the_permission_to_look_may_look(make_user, model):
    plain, visitor = Client(), Client()
    plain.force_login(make_user())
    no_rights, _ = staff()
    may_look, _ = staff(f"view_{model}")

    statuses = [c.get(f"/admin/jobs/{model}/").status_code for c in (visitor, plain, no_rights, may_look)]

    assert statuses == [302, 302, 403, 200]


def test_who_may_only_look_decides_nothing(owner, rung):
    row = make_dead_letter(owner)
    looker, _ = staff("view_deadletter")

    page = looker.get(DESK).content.decode()
    letter = looker.get(f"{DESK}{row.pk}/change/").content.decode()
    looker.post(DESK, {"action": "requeue", "_selected_action": [row.pk], "confirmed": "yes"})
    alone = looker.post(f"{DESK}{row.pk}/requeue/", {"confirmed": "yes"})

    assert 'value="requeue"' not in page
    assert f"{row.pk}/requeue/" not in letter
    assert alone.status_code == 403
    row.refresh_from_db()
    assert row.resolution is None
    assert rung == []


@pytest.mark.parametrize("model", ["deadletter", "job", "worker"])
def test_nobody_adds_changes_or_deletes_not_even_a_superuser(admin_client, owner, model):
    row = {
        "deadletter": lambda: make_dead_letter(owner),
        "job": lambda: make_job(owner),
        "worker": lambda: Worker.objects.create(
            id="019b0000-0000-7000-8000-000000000000",
            name="w",
            state="busy",
            started_at=timezone.now(),
            beat_at=timezone.now(),
        ),
    }[model]()
    change = reverse(f"admin:jobs_{model}_change", args=[row.pk])

    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {"status": "completed", "reason": "unknown"}).status_code == 403
    assert admin_client.get(f"/admin/jobs/{model}/add/").status_code == 403
    assert admin_client.post(f"{change.removesuffix('change/')}delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in admin_client.get(f"/admin/jobs/{model}/").content.decode()


# ── What is shown ─────────────────────────────────────────────────────────────────────────────


def test_a_dead_letter_shows_its_evidence_and_escapes_what_came_from_outside(desk, owner):
    row = make_dead_letter(owner, reason="unknown", error={"kind": "lost", "code": None, "detail": "<i>eof</i>"})
    hostile = "</pre><script>alert(1)</script>"
    Job.objects.filter(id=row.job_id).update(payload={"to": "ann@example.org", "text": hostile}, correlation_id="c-42")
    now = timezone.now()
    Attempt.objects.create(
        job_id=row.job_id, claim=1, number=1, outcome="unknown", provider="main", detail="<b>451</b>", ended_at=now
    )

    page = desk.get(f"{DESK}{row.pk}/change/").content.decode()

    for fact in (str(row.job_id), "c-42", "ann@example.org", "main", "&lt;b&gt;451", "&lt;i&gt;eof", "1 of 5"):
        assert fact in page
    assert "<script>alert(1)" not in page
    assert "&lt;/pre&gt;&lt;script&gt;" in page


def test_a_job_shows_what_its_email_service_told(admin_client, owner):
    row, now = make_job(owner), timezone.now()
    words = {"esp": "postmark", "recipient": "ann@example.org", "reason": "bounced", "detail": "<b>550</b>"}
    Event.objects.create(job_id=row.id, owner=owner, event_id="1", kind="bounced", at=now, received_at=now, **words)

    page = admin_client.get(f"/admin/jobs/job/{row.id}/change/").content.decode()

    for fact in ("postmark", "ann@example.org", "bounced", "&lt;b&gt;550&lt;/b&gt;"):
        assert fact in page


def test_a_decided_dead_letter_shows_who_when_and_why(desk, owner):
    eve = User.objects.create(username="eve")
    row = make_dead_letter(owner, resolution="override", resolved_by=eve, resolved_at=timezone.now(), note="<b>She</b>")

    page = desk.get(f"{DESK}{row.pk}/change/").content.decode()

    for fact in ("override", "eve", "&lt;b&gt;She&lt;/b&gt;", f"{row.resolved_at:%Y}"):
        assert fact in page


def test_what_the_machine_decided_is_shown_as_its_own(desk, owner):
    row = make_dead_letter(owner, reason="unknown", resolution="late_reply", resolved_at=timezone.now())

    assert "the machine" in desk.get(f"{DESK}{row.pk}/change/").content.decode()


def test_an_unknown_shows_what_its_provider_said(desk, owner):
    asked = {"asked_at": "2031-05-01T08:00:00.123+00:00", "source": "main's log"}
    answers = [asked | {"accepted": None, "detail": "not yet"}, asked | {"accepted": True, "detail": "<i>250</i>"}]
    row = make_dead_letter(owner, reason="unknown", evidence=answers)

    page = desk.get(f"{DESK}{row.pk}/change/").content.decode()

    for fact in (
        "It cannot say.",
        "It has the message.",
        "2031-05-01 08:00:00 UTC",
        "&lt;i&gt;250&lt;/i&gt;",
        "not yet",
    ):
        assert fact in page


def test_a_job_without_its_body_can_be_shown(admin_client, owner):
    row = make_dead_letter(owner)
    Job.objects.update(payload=None, last_error=None)

    assert admin_client.get(f"{DESK}{row.pk}/change/").status_code == 200
    assert admin_client.get(f"/admin/jobs/job/{row.job_id}/change/").status_code == 200


def test_a_large_payload_is_cut(admin_client, owner):
    job = make_job(owner, payload={"text": "x" * 1_000_000})

    page = admin_client.get(f"/admin/jobs/job/{job.id}/change/").content

    assert len(page) < 300_000
    assert b"more characters" in page


@pytest.mark.parametrize("path", [DESK, "/admin/jobs/job/", "/admin/jobs/worker/", f"{DESK}?resolution=open"])
def test_lists_never_count_a_whole_table(admin_client, owner, path):
    for _ in range(3):
        make_dead_letter(owner)

    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(path).status_code == 200

    counts = [q["sql"] for q in queries if "COUNT(" in q["sql"].upper()]
    assert all(f"LIMIT {COUNTED}" in sql for sql in counts)
    assert len(counts) == 1


def test_a_list_shows_no_row_twice_and_asks_no_more_for_more_rows(admin_client, owner):
    make_dead_letter(owner)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(DESK)
    for _ in range(20):
        make_dead_letter(owner)
    with CaptureQueriesContext(connection) as many:
        page = admin_client.get(DESK).content.decode()

    assert len(many) == len(few)
    assert len(set(re.findall(r"/deadletter/(\d+)/change/", page))) == 21


# ── Find ──────────────────────────────────────────────────────────────────────────────────────


def shown(client, path, params):
    page = client.get(path, params).content.decode()
    return set(map(int, re.findall(r"/deadletter/(\d+)/change/", page)))


def test_a_dead_letter_is_found_by_the_id_of_its_job(desk, owner):
    wanted, _ = make_dead_letter(owner), make_dead_letter(owner)

    assert shown(desk, DESK, {"q": f" {wanted.job_id} "}) == {wanted.id}
    assert shown(desk, DESK, {"q": "019b"}) == set()


def test_filters_narrow_the_desk(desk, owner):
    dead, unknown = make_dead_letter(owner), make_dead_letter(owner, reason="unknown")
    welcome = make_dead_letter(owner, type="welcome_email", resolution="discarded", resolved_at=timezone.now())

    assert shown(desk, DESK, {"reason__exact": "unknown"}) == {unknown.id}
    assert shown(desk, DESK, {"resolution": "open"}) == {dead.id, unknown.id}
    assert shown(desk, DESK, {"resolution": "discarded"}) == {welcome.id}
    assert shown(desk, DESK, {"type": "welcome_email"}) == {welcome.id}
    assert shown(desk, DESK, {"died_at__gte": "2099-01-01 00:00:00+00:00"}) == set()
