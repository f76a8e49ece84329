"""What the API reads and answers about templates: encoded as it stands, and described in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from jobs import models, prints
from jobs.prints import MOST_SOURCE_CHARACTERS, MOST_SUBJECT_CHARACTERS, Print, Sources
from jobs.templated_emails import LARGEST_VERSION, NAME

_SOURCE = {"maxLength": MOST_SOURCE_CHARACTERS}


class NewVersion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a template says from now on, in Liquid. Give `text`, `html` or both; a text is else made from the HTML."""

    subject: Annotated[
        str,
        Meta(
            description="One line. Not escaped.",
            extra_json_schema={"minLength": 1, "maxLength": MOST_SUBJECT_CHARACTERS},
        ),
    ]
    text: Annotated[str | None, Meta(description="Not escaped.", extra_json_schema=_SOURCE)] = None
    html: Annotated[
        str | None, Meta(description="Variables are escaped; CSS in `<style>` is inlined.", extra_json_schema=_SOURCE)
    ] = None
    example: Annotated[dict[str, Any], Meta(description="Variables for previews.")] = {}

    @property
    def sources(self) -> Sources:
        return Sources(subject=self.subject, text=self.text, html=self.html)


class NewTemplate(NewVersion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and its first version."""

    name: Annotated[str, Meta(examples=["order-shipped"], extra_json_schema={"pattern": f"^{NAME.pattern}$"})]


class PreviewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to fill in."""

    variables: Annotated[dict[str, Any] | None, Meta(description="Without them the version's example.")] = None
    version: Annotated[
        int | None,
        Meta(description="Without it the newest.", extra_json_schema={"minimum": 1, "maximum": LARGEST_VERSION}),
    ] = None


class Variable(Struct, frozen=True, kw_only=True):
    """What a template speaks of."""

    name: Annotated[str, Meta(examples=["order.id"])]
    required: Annotated[bool, Meta(description="Not, where the template asks for it with `if`, `unless` or `default`.")]


class Template(Struct, frozen=True, kw_only=True):
    """One version of a template. Versions are never changed."""

    name: str
    version: int
    newest: Annotated[int, Meta(description="The version that is used where none is named.")]
    subject: str
    text: str | None
    html: str | None
    variables: list[Variable]
    example: dict[str, Any]
    created_at: Annotated[datetime, Meta(description="Of this version.")]


class TemplateSummary(Struct, frozen=True, kw_only=True):
    """A template in the list of all."""

    name: str
    newest: int
    created_at: datetime
    updated_at: Annotated[datetime, Meta(description="When its newest version was added.")]


class TemplatePage(Struct, frozen=True, kw_only=True):
    """Some templates, the latest made first; `next` and `previous` are whole URLs."""

    results: list[TemplateSummary]
    next: str | None
    previous: str | None


class VersionPage(Struct, frozen=True, kw_only=True):
    """Some versions of one template, newest first; `next` and `previous` are whole URLs."""

    results: list[Template]
    next: str | None
    previous: str | None


class Preview(Struct, frozen=True, kw_only=True):
    """The mail as it would be sent."""

    version: int
    subject: str
    text: str | None
    html: str | None


# ── From rows ─────────────────────────────────────────────────────────────────────────────────


def template(row: models.TemplateVersion) -> Template:
    """The row must have its `template`."""
    return Template(
        name=row.template.name,
        version=row.number,
        newest=row.template.newest,
        subject=row.subject,
        text=row.text,
        html=row.html,
        variables=[_variable(need) for need in row.variables],
        example=row.example,
        created_at=row.created_at,
    )


def summary(row: models.Template) -> TemplateSummary:
    return TemplateSummary(name=row.name, newest=row.newest, created_at=row.created_at, updated_at=row.updated_at)


def preview(version: int, made: Print) -> Preview:
    return Preview(version=version, subject=made.subject, text=made.text, html=made.html)


def _variable(need: prints.Need) -> Variable:
    return Variable(name=need.name, required=need.required)
