"""What people look at, in a real Chromium: the pages draw themselves from this server alone, and the desk decides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Page, expect, sync_playwright

from jobs.models import DeadLetter, Delivery, Job
from jobs.states import Resolution, Status
from tests.jobs.conftest import make_dead_letter, make_job

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_MS = 60_000
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
]


@pytest.fixture
def allow_orm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright's synchronous face runs an event loop in this thread; the ORM calls here are the test's own.

    The live server's threads keep no connection, which would outlive them and the test's database.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def page(allow_orm: None, live_server: Any) -> Iterator[Page]:
    """A page that remembers, in `page.strangers`, every address it asked outside this server."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(base_url=live_server.url)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.strangers = []  # type: ignore[attr-defined]
        page.on("request", lambda request: _note(page, request.url, live_server.url))
        yield page
        browser.close()
        connections.close_all()  # the test's own, which belonged to playwright's event loop


def _note(page: Any, url: str, home: str) -> None:
    if urlsplit(url).scheme in ("http", "https") and not url.startswith(home):
        page.strangers.append(url)


def test_the_api_page_draws_every_call_without_asking_anyone_else(page: Any) -> None:
    page.goto("/docs")

    expect(page.locator(".opblock-summary-path", has_text="/addJob")).to_be_visible()
    expect(page.locator(".opblock-summary-path", has_text="/failedJobs").first).to_be_visible()
    assert page.strangers == []


def log_in(page: Any) -> User:
    boss = User.objects.create_superuser("boss", password="a-long-password")
    page.goto("/admin/")
    page.fill("input[name=username]", "boss")
    page.fill("input[name=password]", "a-long-password")
    page.click("button[type=submit]")
    return boss


def test_a_person_requeues_dead_letters_at_the_desk_and_says_why(page: Any) -> None:
    """Of three that are selected one is sent, one has it already, and one is unknown."""
    boss = log_in(page)
    dead, known, unknown = (make_dead_letter(boss, reason=reason) for reason in ("permanent", "permanent", "unknown"))
    other = make_job(boss, status=Status.COMPLETED, dedupe_hash=known.job.dedupe_hash)
    now = timezone.now()
    Delivery.objects.create(dedupe_hash=other.dedupe_hash, job_id=other.id, claim=1, state="sent", claimed_at=now)

    page.goto("/admin/jobs/deadletter/")
    for letter in (dead, known, unknown):
        page.check(f"input[name=_selected_action][value='{letter.pk}']")
    page.select_option("select[name=action]", "requeue")
    page.click("button[name=index]")

    expect(page.get_by_text(f"1 would be sent: {dead.pk}")).to_be_visible()
    expect(page.get_by_text(f"1 already has it (left alone): {known.pk}")).to_be_visible()
    expect(page.get_by_text("it may arrive twice")).to_be_visible()
    assert not DeadLetter.objects.exclude(resolution=None).exists()
    page.fill("input[name=note]", "The relay is back.")
    page.get_by_role("button", name="Requeue").click()

    expect(page.get_by_text(f"1 queued to be sent ({dead.pk})")).to_be_visible()
    expect(page.get_by_text(f"1 already has it ({known.pk})")).to_be_visible()
    expect(page.get_by_text(f"1 is unknown ({unknown.pk})")).to_be_visible()
    dead.refresh_from_db()
    assert (dead.resolution, dead.resolved_by, dead.note) == (Resolution.REQUEUED, boss, "The relay is back.")
    assert Job.objects.get(id=dead.job_id).status == Status.QUEUED
    assert DeadLetter.objects.filter(resolution=None).count() == 2
    assert page.strangers == []


def test_a_person_decides_an_unknown_from_its_own_page(page: Any) -> None:
    boss = log_in(page)
    unknown = make_dead_letter(boss, reason="unknown")
    page.goto(f"/admin/jobs/deadletter/{unknown.pk}/change/")
    page.get_by_role("link", name="Mark sent").click()
    page.get_by_role("link", name="No, take me back").click()
    page.get_by_role("link", name="Mark sent").click()

    page.fill("input[name=note]", "Ann says that she has it.")
    page.get_by_role("button", name="Mark sent").click()

    expect(page.get_by_text(f"1 marked sent ({unknown.pk})")).to_be_visible()
    expect(page.get_by_text("Ann says that she has it.")).to_be_visible()
    expect(page.get_by_role("link", name="Mark sent")).to_have_count(0)
    unknown.refresh_from_db()
    assert (unknown.resolution, unknown.resolved_by) == (Resolution.MARK_SENT, boss)
    assert page.strangers == []
