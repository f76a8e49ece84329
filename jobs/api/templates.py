"""The views of templates: make, read, add a version, preview."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import templating, writing
from jobs.api import examples, template_shapes
from jobs.api.base import View
from jobs.api.filters import no_lookups
from jobs.api.paging import as_number, page
from jobs.api.parsers import read_shape
from jobs.api.schema import PAGING, describe, query
from jobs.api.template_shapes import NewTemplate, NewVersion, PreviewRequest, TemplatePage, VersionPage
from jobs.errors import InvalidRequest
from jobs.models import Template, TemplateVersion
from jobs.templated_emails import LARGEST_VERSION

LISTING = {400: "invalid", 401: "token_not_valid"}
MISSING = LISTING | {404: "not_found"}
WRITING = MISSING | {413: "too_large"}
DESCRIPTION = """The sources are [Liquid](https://shopify.github.io/liquid/). They are read at once: what is wrong is
answered by field and line, and what they need is listed as `variables`."""


class TemplatesView(View):
    @describe(
        id="createTemplate",
        summary="Make a template and its first version",
        description=DESCRIPTION,
        tag="templates",
        request="NewTemplate",
        request_examples=examples.TEMPLATES,
        answers={201: ("Template", "Kept.")},
        answer_headers={201: ("Location",)},
        problems=LISTING | {409: "name_taken", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        body = read_shape(request._request, NewTemplate)
        version = templating.create(self.caller_id, body.name, body.sources, body.example)
        return _made(version)

    @describe(
        id="listTemplates",
        summary="Your templates, the latest made first",
        tag="templates",
        answers={200: ("TemplatePage", "One page.")},
        problems=LISTING,
        parameters=PAGING,
    )
    def get(self, request: Request) -> Response:
        mine = Template.objects.filter(owner_id=self.caller_id, **no_lookups(request.query_params))
        found = page(request, mine, as_id=as_number)
        results = [template_shapes.summary(row) for row in found.rows]
        return Response(TemplatePage(results=results, next=found.next, previous=found.previous))


class TemplateView(View):
    @describe(
        id="readTemplate",
        summary="One version of a template of yours",
        tag="templates",
        answers={200: ("Template", "The version.")},
        problems=MISSING,
        parameters=[
            query("version", "Its number; without it the newest.", type="integer", minimum=1, maximum=LARGEST_VERSION)
        ],
    )
    def get(self, request: Request, name: str) -> Response:
        number = _number(request.query_params.get("version"))
        return Response(template_shapes.template(templating.find(self.caller_id, name, number)))


class VersionsView(View):
    @describe(
        id="addTemplateVersion",
        summary="Add a version, which is used from now on where none is named",
        description=f"{DESCRIPTION}\n\nOlder versions stay as they are, and can be named.",
        tag="templates",
        request="NewVersion",
        request_examples=examples.VERSIONS,
        answers={201: ("Template", "Kept.")},
        answer_headers={201: ("Location",)},
        problems=WRITING,
    )
    def post(self, request: Request, name: str) -> Response:
        body = read_shape(request._request, NewVersion)
        return _made(templating.add_version(self.caller_id, name, body.sources, body.example))

    @describe(
        id="listTemplateVersions",
        summary="The versions of a template of yours, newest first",
        tag="templates",
        answers={200: ("VersionPage", "One page.")},
        problems=MISSING,
        parameters=PAGING,
    )
    def get(self, request: Request, name: str) -> Response:
        no_lookups(request.query_params)
        template = templating.find(self.caller_id, name).template
        versions = TemplateVersion.objects.select_related("template").filter(template=template)
        found = page(request, versions, as_id=as_number)
        results = [template_shapes.template(row) for row in found.rows]
        return Response(VersionPage(results=results, next=found.next, previous=found.previous))


class PreviewView(View):
    @describe(
        id="previewTemplate",
        summary="The mail that a template makes of variables; nothing is sent",
        tag="templates",
        request="PreviewRequest",
        request_is_optional=True,
        request_examples=examples.PREVIEWS,
        answers={200: ("Preview", "As it would be sent.")},
        problems=WRITING,
    )
    def post(self, request: Request, name: str) -> Response:
        body = read_shape(request._request, PreviewRequest, empty=PreviewRequest())
        version = templating.find(self.caller_id, name, _checked(body.version))
        variables = version.example if body.variables is None else body.variables
        return Response(template_shapes.preview(version.number, writing.preview(version, variables)))


def _made(version: TemplateVersion) -> Response:
    location = f"/templates/{version.template.name}?version={version.number}"
    return Response(template_shapes.template(version), status=201, headers={"Location": location})


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    return _checked(int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0)


def _checked(number: int | None) -> int | None:
    if number is not None and not 1 <= number <= LARGEST_VERSION:
        raise InvalidRequest.field("version", f"A whole number from 1 to {LARGEST_VERSION}.")
    return number
