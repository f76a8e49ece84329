"""The window on stored templates, and how a mail of theirs would look.

The mail is a stranger's page: it is shown in a frame that runs no scripts, sends no forms, has no origin and fetches
nothing, not even pictures, which would tell their author who looks at them and when.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from jobs import writing
from jobs.admin.facts import as_text
from jobs.admin.read_only import ReadOnly
from jobs.errors import Refused
from jobs.models import Template, TemplateVersion
from jobs.prints import Print
from jobs.templated_emails import LARGEST_VERSION

PAGE = "admin/jobs/template/preview.html"
MOST_VARIABLES_CHARACTERS = 100_000
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # of the page in the frame
OF_THE_NEWEST = ("subject", "text", "html", "needs", "example")
FRAMED = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


class PreviewForm(forms.Form):
    """Which version, and what it is filled in with."""

    version = forms.IntegerField(
        min_value=1, max_value=LARGEST_VERSION, required=False, widget=UnfoldAdminIntegerFieldWidget
    )
    variables = forms.CharField(
        max_length=MOST_VARIABLES_CHARACTERS,
        help_text="One JSON object.",
        widget=UnfoldAdminTextareaWidget({"rows": 12, "spellcheck": "false"}),
    )

    def clean_variables(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self.cleaned_data["variables"], type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            raise forms.ValidationError(f"Not a JSON object: {error}") from None


@admin.register(Template)
class TemplateAdmin(ReadOnly):
    list_display = ("id", "name", "owner", "newest", "updated_at")
    list_select_related = ("owner",)
    actions_detail = ("preview",)
    fields = (
        "id",
        "name",
        "owner",
        "newest",
        "created_at",
        "updated_at",
        "subject",
        "text",
        "html",
        "needs",
        "example",
    )
    readonly_fields = OF_THE_NEWEST

    @action(description="Preview", url_path="preview", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        template = self.get_object(request, unquote(object_id))
        if template is None:
            raise Http404
        form = PreviewForm(request.POST or _first(template))
        context = self.admin_site.each_context(request) | {
            "title": f"Preview of {template.name}",
            "form": form,
            "back": reverse("admin:jobs_template_change", args=[template.pk]),
            "opts": self.opts,
        }
        return TemplateResponse(request, PAGE, context | _shown(template, form))

    # ── Fields of the newest version ──────────────────────────────────────────────────────────

    @display(description="subject")
    def subject(self, row: Template) -> SafeString | str:
        return as_text(_version(row).subject)

    @display(description="text")
    def text(self, row: Template) -> SafeString | str:
        return as_text(_version(row).text)

    @display(description="HTML")
    def html(self, row: Template) -> SafeString | str:
        return as_text(_version(row).html)

    @display(description="variables")
    def needs(self, row: Template) -> SafeString | str:
        return as_text({need.name: "required" if need.required else "optional" for need in _version(row).variables})

    @display(description="example")
    def example(self, row: Template) -> SafeString | str:
        return as_text(_version(row).example)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        found: QuerySet[Template] = super().get_queryset(request)
        return found.select_related("owner")


def _first(template: Template) -> dict[str, Any]:
    """The page as it opens: the newest version with its own example."""
    example = msgspec.json.format(msgspec.json.encode(_version(template).example), indent=2).decode()
    return {"version": template.newest, "variables": example}


def _shown(template: Template, form: PreviewForm) -> dict[str, Any]:
    """The mail, or what stands in its way."""
    if not form.is_valid():
        return {}
    number = form.cleaned_data["version"] or template.newest
    version = TemplateVersion.objects.select_related("template").filter(template=template, number=number).first()
    if version is None:
        return {"problems": [f"version: {template.name} has the versions 1 to {template.newest}."]}
    try:
        made = writing.preview(version, form.cleaned_data["variables"])
    except Refused as refusal:
        each = [f"{field}: {message}" for field, messages in refusal.fields.items() for message in messages]
        return {"problems": each or [refusal.detail]}
    return {"mail": made, "page": _framed(made)}


def _framed(made: Print) -> str:
    """For srcdoc, which the template escapes. The policy comes first: nothing after it can take it back."""
    return FRAMED + made.html if made.html else ""


def _version(template: Template) -> TemplateVersion:
    return TemplateVersion.objects.get(template=template, number=template.newest)
