"""Stored templates: made, added to, found. A version is read by the press before it is kept, so that none is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs import press, rules
from jobs.errors import InvalidRequest, NameTaken, NotFound
from jobs.prints import MOST_SOURCE_CHARACTERS, MOST_SUBJECT_CHARACTERS, Inspection, Sources
from jobs.rules import Problem
from jobs.template_models import Template, TemplateVersion
from jobs.templated_emails import NAME, NAME_REMEDY


def create(owner_id: int, name: str, sources: Sources, example: Mapping[str, Any]) -> TemplateVersion:
    """A template and its first version. Raises InvalidRequest by field and line, NameTaken, Unavailable."""
    if not NAME.fullmatch(name):
        raise InvalidRequest.field("name", NAME_REMEDY)
    found = _inspected(sources, example)
    try:
        with transaction.atomic():
            template = Template.objects.create(
                owner_id=owner_id, name=name, newest=1, created_at=Now(), updated_at=Now()
            )
            version = _keep(template, 1, sources, example, found)
    except IntegrityError as error:
        if not Template.objects.filter(owner_id=owner_id, name=name).exists():
            raise  # something else: the owner is gone
        raise NameTaken(f"You have a template {name!r}. POST /templates/{name}/versions adds a version.") from error
    return find(owner_id, name, version.number)


def add_version(owner_id: int, name: str, sources: Sources, example: Mapping[str, Any]) -> TemplateVersion:
    """The next version, which is used from now on where none is named. Raises NotFound and likewise."""
    found = _inspected(sources, example)
    with transaction.atomic():
        template = Template.objects.select_for_update().filter(owner_id=owner_id, name=name).first()
        if template is None:
            raise NotFound
        template.newest += 1
        template.updated_at = Now()
        template.save(update_fields=["newest", "updated_at"])
        version = _keep(template, template.newest, sources, example, found)
    return find(owner_id, name, version.number)


def find(owner_id: int, name: str, number: int | None = None) -> TemplateVersion:
    """One version with its template; the newest, if none is named. Raises NotFound."""
    version = (
        TemplateVersion.objects.select_related("template")
        .filter(template__owner_id=owner_id, template__name=name, number=number or F("template__newest"))
        .first()
    )
    if version is None:
        raise NotFound
    return version


def _inspected(sources: Sources, example: Mapping[str, Any]) -> Inspection:
    problems = list(_problems(sources, dict(example)))
    if not problems:
        found = press.inspect(sources)
        problems = [(flaw.field or "body", flaw.sentence) for flaw in found.flaws]
    if problems:
        raise refusal(problems)
    return found


def _problems(sources: Sources, example: dict[str, Any]) -> Iterator[Problem]:
    if not sources.text and not sources.html:
        yield "text", "is empty, and so is html. Give text, html or both."
    if len(sources.subject) > MOST_SUBJECT_CHARACTERS:
        yield "subject", f"has {len(sources.subject)} characters. Shorten it to {MOST_SUBJECT_CHARACTERS}."
    if not sources.subject.strip():
        yield "subject", "is empty. Give it some text."
    if "\n" in sources.subject.strip() or "\r" in sources.subject.strip():
        yield "subject", "has a line break. Write it on one line."
    for field in ("text", "html"):
        if len(source := getattr(sources, field) or "") > MOST_SOURCE_CHARACTERS:
            yield field, f"has {len(source)} characters. Shorten it to {MOST_SOURCE_CHARACTERS}."
    for field, source in sources.by_field().items():
        yield from rules.storable(field, source)
    too_deep = list(rules.levels("example", example))
    yield from too_deep or rules.storable("example", example)


def _keep(
    template: Template, number: int, sources: Sources, example: Mapping[str, Any], found: Inspection
) -> TemplateVersion:
    return TemplateVersion.objects.create(
        template=template,
        number=number,
        subject=sources.subject,
        text=sources.text,
        html=sources.html,
        example=example,
        needs=msgspec.to_builtins(found.needs),
        created_at=Now(),
    )


def refusal(problems: list[Problem]) -> InvalidRequest:
    """All of them, by field; the first of them in words, too."""
    fields: dict[str, list[str]] = {}
    for path, message in problems:
        fields.setdefault(path, []).append(message)
    first = next(iter(fields))
    return InvalidRequest(f"{first}: {fields[first][0]}", fields=fields)
