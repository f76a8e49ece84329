"""Where each address leads. Whatever leads nowhere is answered in the API's own shape."""

from __future__ import annotations

import sys
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from jobs.api import problems
from jobs.api.renderers import OneKind
from jobs.conf import tunables
from jobs.database import is_away
from scheduler import health


def unknown(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if _is_for_people(request):
        return defaults.page_not_found(request, exception or Exception())
    return problems.not_found(request, "No call has this address; addresses end without a slash. See /docs.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problems.problem(request, status=400, code="invalid", detail="The request cannot be understood.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if _is_for_people(request):
        return defaults.permission_denied(request, exception or Exception())
    return problems.problem(request, status=403, code="permission_denied", detail="You may not do this.")


def failed(request: HttpRequest) -> HttpResponse:
    """Called while the error is being handled; it is logged already."""
    error = sys.exc_info()[1]
    return problems.unavailable(request) if error and is_away(error) else problems.server_error(request)


def _is_for_people(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


handler400, handler403, handler404, handler500 = bad_request, forbidden, unknown, failed

schema = SpectacularJSONAPIView.as_view(content_negotiation_class=OneKind, renderer_classes=[OpenApiJsonRenderer2])

urlpatterns: list[Any] = [
    path("", include("jobs.api.urls")),
    path("", RedirectView.as_view(url="/docs")),
    path("health", health.HealthView.as_view(), name="health"),
    path("health/live", health.LiveView.as_view(), name="health_live"),
    path("health/ready", health.ReadyView.as_view(), name="health_ready"),
    path("metrics", health.MetricsView.as_view(), name="metrics"),
    path("schema", schema, name="schema"),
    path("docs", SpectacularSwaggerView.as_view(content_negotiation_class=OneKind), name="docs"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]

if tunables().event_secrets:  # else there is no such address, and anymail is not loaded
    from jobs.api import told

    urlpatterns.append(path("events/<str:esp>", told.told, name="events"))

if tunables().inbox_dir:  # local only; production never loads it
    from scheduler.embedded import inbox_page

    urlpatterns += inbox_page.urlpatterns

urlpatterns.append(re_path("", csrf_exempt(unknown)))  # a POST to a misspelt address is lost, not forbidden
