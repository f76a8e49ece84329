"""Templates in the admin, and the frame in which a stranger's mail is shown."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from jobs.models import Template

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)><p>Dear {{ name }}</p>\"'></iframe><b id=out>"


@pytest.fixture
def template(caller):
    body = {"name": "order", "subject": "For {{ name }}", "html": HOSTILE, "example": {"name": "<i>Ann"}}
    assert caller.post("/templates", body).status_code == 201
    return Template.objects.get()


def staff(*permissions):
    user = User.objects.create(username=f"staff-{len(permissions)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def address(template):
    return f"/admin/jobs/template/{template.pk}/preview/"


def test_only_who_may_look_at_templates_looks(template):
    may, may_not = staff("view_template"), staff()

    for path in ("/admin/jobs/template/", reverse("admin:jobs_template_change", args=[template.pk]), address(template)):
        assert (may.get(path).status_code, may_not.get(path).status_code) == (200, 403)
    assert Client().get(address(template)).status_code == 302


def test_a_template_shows_its_sources_escaped_and_cannot_be_changed(admin_client, template):
    change = reverse("admin:jobs_template_change", args=[template.pk])

    page = admin_client.get(change).content.decode()

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert address(template) in page
    assert admin_client.post(change, {"name": "x"}).status_code == 403


def test_a_preview_opens_with_the_example_in_a_frame_that_may_nothing(admin_client, template):
    page = admin_client.get(address(template)).content.decode()

    (frame,) = re.findall(r"<iframe ([^>]*)>", page)
    (shown,) = re.findall(r'srcdoc="([^"]*)"', frame)
    assert 'sandbox=""' in frame
    assert "<" not in shown
    inside = unescape(shown)
    assert inside.startswith('<meta http-equiv="Content-Security-Policy" content="default-src \'none\';')
    assert "Dear &lt;i&gt;Ann" in inside
    assert "<script>alert(1)" not in page
    assert "<b id=out>" not in page
    assert "For &lt;i&gt;Ann" in page


def test_a_preview_shows_what_was_typed(admin_client, template):
    page = admin_client.post(address(template), {"version": "1", "variables": '{"name": "Zoe"}'}).content.decode()

    assert "For Zoe" in page


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ({"variables": "{}"}, "variables.name"),
        ({"variables": '{"name": "x", "y": 1}'}, "variables.y"),
        ({"variables": "{"}, "Not a JSON object"),
        ({"variables": "[]"}, "Not a JSON object"),
        ({"variables": "[" * 90_000}, "Not a JSON object"),
        ({"variables": '{"name": "x"}', "version": "9"}, "versions 1 to 1"),
        ({"variables": '{"name": "x"}', "version": "x"}, "whole number"),
        ({}, "required"),
    ],
)
def test_a_preview_says_what_stands_in_its_way(admin_client, template, form, word):
    answer = admin_client.post(address(template), form or {"version": "1"})

    assert answer.status_code == 200
    assert word in answer.content.decode()
    assert "<iframe" not in answer.content.decode()


def test_a_preview_of_nothing_is_not_found(admin_client, template):
    assert admin_client.get("/admin/jobs/template/999999/preview/").status_code == 404
