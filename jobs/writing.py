"""From a template and variables to a mail: at a preview, and when a job is accepted. What was written then is what is
sent, however long it waits and whatever becomes of the template."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs import press, rules
from jobs.addresses import CONTROL
from jobs.errors import InvalidRequest, NotFound, Refused
from jobs.prints import Flaw, Order, Path, Print
from jobs.requests import JobRequest
from jobs.rules import Problem
from jobs.template_models import Template, TemplateVersion
from jobs.templating import find, refusal

AT = "payload"
ABOUT_THE_TEMPLATE = frozenset({"template", "version", "variables"})  # of the payload; the rest goes on as it is
Named = tuple[str, int | None]


def preview(version: TemplateVersion, variables: dict[str, Any]) -> Print:
    """The mail that this version makes of the variables. Raises InvalidRequest naming `variables.…`, Unavailable."""
    problems = list(_misgivings(version, variables, "variables"))
    if not problems:
        (made,) = press.fill([Order(sources=version.sources, variables=variables)])
        problems = list(_faults(made, variables, variables_at="variables", template_at="template"))
    if problems:
        raise refusal(problems)
    return made


def write(requests: Sequence[JobRequest], *, owner_id: int) -> list[JobRequest | Refused]:
    """These requests, all of a type that a template writes, with their mails for payloads; or why there is none. One
    does not stand in another's way. Raises Unavailable when all together take too long."""
    versions = _versions({_named(request) for request in requests}, owner_id)
    answers: list[JobRequest | Refused] = []
    orders: dict[int, Order] = {}
    for number, request in enumerate(requests):
        version, variables = versions[_named(request)], request.payload.get("variables", {})
        if isinstance(version, Refused):
            answers.append(version)
        elif problems := list(_misgivings(version, variables, f"{AT}.variables")):
            answers.append(refusal(problems))
        else:
            answers.append(request)
            orders[number] = Order(sources=version.sources, variables=variables)
    for number, made in zip(orders, press.fill(list(orders.values())), strict=True):
        request, used = requests[number], versions[_named(requests[number])]
        assert isinstance(used, TemplateVersion)
        answers[number] = _completed(request, used, made)
    return answers


def _named(request: JobRequest) -> Named:
    return request.payload["template"], request.payload.get("version")


def _versions(named: set[Named], owner_id: int) -> dict[Named, TemplateVersion | Refused]:
    return {(name, number): _version(owner_id, name, number) for name, number in named}


def _version(owner_id: int, name: str, number: int | None) -> TemplateVersion | Refused:
    try:
        return find(owner_id, name, number)
    except NotFound:
        template = Template.objects.filter(owner_id=owner_id, name=name).first()
        if template is None:
            return InvalidRequest.field(
                f"{AT}.template", f"You have no template {rules.shown(name)}. POST /templates makes one."
            )
        return InvalidRequest.field(f"{AT}.version", f"Template {name} has the versions 1 to {template.newest}.")


def _completed(request: JobRequest, version: TemplateVersion, made: Print) -> JobRequest | Refused:
    problems = list(
        _faults(
            made,
            request.payload.get("variables", {}),
            variables_at=f"{AT}.variables",
            template_at=f"{AT}.template",
        )
    )
    if problems:
        return refusal(problems)
    mail = {"subject": made.subject, "text": made.text, "html": made.html}
    payload = {name: value for name, value in request.payload.items() if name not in ABOUT_THE_TEMPLATE}
    payload |= {name: value for name, value in mail.items() if value is not None}
    payload["template"] = {"name": version.template.name, "version": version.number}
    return dataclasses.replace(request, payload=payload)


# ── Variables ─────────────────────────────────────────────────────────────────────────────────


def _misgivings(version: TemplateVersion, variables: Mapping[str, Any], at: str) -> Iterator[Problem]:
    """What is missing, and what nobody asked for: a misspelt name is both."""
    needs = version.variables
    optional = {need.path for need in needs if not need.required}
    remedy = _remedy(version)
    for need in needs:
        if need.required and _is_missing(need.path, variables, optional):
            yield f"{at}.{need.name}", f"is required. {remedy}"
    for name in variables.keys() - {need.path[0] for need in needs}:
        yield f"{at}.{rules.shown(name)}", f"is not used. {remedy}"


def _is_missing(path: Path, variables: Any, optional: set[Path]) -> bool:
    """Whether there is nothing at this path, and the template does not mind it, there or further up."""
    value: Any = variables
    for depth, part in enumerate(path, start=1):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):  # a list has no names, a number nothing at all
            return path[:depth] not in optional
        if (value is None or value is False) and path[:depth] in optional:
            return False
    return False


def _remedy(version: TemplateVersion) -> str:
    required = [need.name for need in version.variables if need.required]
    optional = [need.name for need in version.variables if not need.required]
    may = f", and may have {', '.join(optional)}" if optional else ""
    return f"{version.template.name}, version {version.number}, needs {', '.join(required) or 'nothing'}{may}."


# ── What was made of them ─────────────────────────────────────────────────────────────────────


def _faults(made: Print, variables: Any, *, variables_at: str, template_at: str) -> Iterator[Problem]:
    """Why this is no mail that could be kept or sent."""
    if made.flaws:
        for flaw in made.flaws:
            yield (variables_at if flaw.is_of_variables else template_at), _told(flaw)
        return
    for field in ("subject", "text", "html"):
        yield from rules.storable(f"{template_at}.{field}", getattr(made, field))
    for _, message in rules.one_line("", made.subject, limit=rules.MAX_LINE_CHARACTERS):
        guilty = list(_broken_lines(variables, variables_at, made.subject)) if CONTROL.search(made.subject) else []
        for path in guilty or [template_at]:
            yield path, f"The subject {message}"
    if not made.text and not made.html:
        yield template_at, "Makes neither text nor HTML of these variables. Give it others."


def _told(flaw: Flaw) -> str:
    return f"{flaw.field}, {flaw.sentence}" if flaw.field else f"It {flaw.sentence}"


def _broken_lines(value: Any, at: str, subject: str) -> Iterator[str]:
    """Where the lines come from that are broken in the subject."""
    if isinstance(value, str):
        if CONTROL.search(value) and "\n".join(value.strip().splitlines()) in subject:  # as Liquid writes lines
            yield at
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _broken_lines(inner, f"{at}.{rules.shown(name)}", subject)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _broken_lines(inner, f"{at}[{index}]", subject)
