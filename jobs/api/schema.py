"""The OpenAPI document: what each operation says about itself.

drf-spectacular walks the addresses and asks these; components.py adds what all share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

OPTIONAL_BODY = "x-body-is-optional"  # between here and components.py, which takes it out again
JSON, PROBLEM_JSON = "application/json", "application/problem+json"

IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    location=OpenApiParameter.HEADER,
    type={"type": "string", "minLength": 1, "maxLength": 257},
    description="1 to 255 printable ASCII characters, in double quotes or bare. The same as `idempotency_key`.",
)


class BearerScheme(SimpleJWTScheme):
    """Found by drf-spectacular as soon as it is defined."""

    target_class = "jobs.api.bearer.BearerToken"


def query(name: str, description: str, **schema: Any) -> OpenApiParameter:
    """A query parameter that is text unless `schema` says otherwise."""
    return OpenApiParameter(
        name=name, location=OpenApiParameter.QUERY, type={"type": "string"} | schema, description=description
    )


PAGING = (
    query("limit", "Rows per page.", type="integer", minimum=1, maximum=100, default=50),
    query("cursor", "From `next` or `previous`; opaque."),
)

_ANSWER_HEADERS = {
    "Location": "Where it can be read.",
    "Idempotency-Replayed": "`true` when this is the first answer again.",
}


def describe(
    *,
    id: str,
    summary: str,
    tag: str,
    answers: dict[int, tuple[str, str]],
    problems: dict[int, str] | None = None,
    description: str = "",
    request: str | None = None,
    request_is_optional: bool = False,
    request_examples: dict[str, Any] | None = None,
    answer_headers: dict[int, Sequence[str]] | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    asks_postgresql: bool = True,
) -> Callable[[Any], Any]:
    """Describe one operation. `answers` maps a status to (component, description), `problems` one to its usual code."""
    responses: dict[Any, OpenApiResponse] = {
        (status, JSON): OpenApiResponse(response=_ref(component), description=text)
        for status, (component, text) in answers.items()
    }
    away = {503: "unavailable"} if asks_postgresql else {}
    for status, code in ((problems or {}) | {500: "internal"} | away).items():
        responses[status, PROBLEM_JSON] = OpenApiResponse(
            response=_ref("Problem"), description=f"{HTTPStatus(status).phrase}, usually `{code}`."
        )
    return extend_schema(
        operation_id=id,
        summary=summary,
        description=description or f"{summary}.",  # else the view's own docstring would be shown
        tags=[tag],
        request={JSON: _ref(request)} if request else None,
        responses=responses,
        parameters=[*parameters, *_headers(answer_headers or {})],
        extensions={OPTIONAL_BODY: True} if request_is_optional else None,
        examples=[OpenApiExample(name, value, request_only=True) for name, value in (request_examples or {}).items()],
    )


def _ref(component: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{component}"}


def _headers(answer_headers: dict[int, Sequence[str]]) -> list[OpenApiParameter]:
    return [
        OpenApiParameter(
            name=name, location=OpenApiParameter.HEADER, type=str, description=_ANSWER_HEADERS[name], response=[status]
        )
        for status, names in answer_headers.items()
        for name in names
    ]
