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
from playwright.sync_api import Page, expect, sync_playwright

from jobs.models import DeadLetter, Job
from jobs.states import Resolution, Status
from tests.jobs.conftest import make_dead_letter

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


def test_a_person_requeues_a_dead_letter_at_the_desk(page: Any) -> None:
    boss = User.objects.create_superuser("boss", password="a-long-password")
    letter = make_dead_letter(boss)
    page.goto("/admin/")
    page.fill("input[name=username]", "boss")
    page.fill("input[name=password]", "a-long-password")
    page.click("button[type=submit]")

    page.goto("/admin/jobs/deadletter/")
    page.check(f"input[name=_selected_action][value='{letter.pk}']")
    page.select_option("select[name=action]", "requeue")
    page.click("button[name=index]")
    expect(page.get_by_text(f"Requeued (1: {letter.pk})")).to_be_visible()

    letter.refresh_from_db()
    assert letter.resolution == Resolution.REQUEUED
    assert letter.resolved_by == boss
    assert Job.objects.get(id=letter.job_id).status == Status.QUEUED
    assert DeadLetter.objects.filter(resolution=None).count() == 0
    assert page.strangers == []
