"""The OpenAPI document's components, from the very msgspec classes that read and write, so that they cannot drift."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs import batches, payloads, requests, schedules, types
from jobs.api import (
    auth,
    batch_shapes,
    destinations,
    events,
    problems,
    schedule_shapes,
    selections,
    shapes,
    suppression_shapes,
    template_shapes,
)
from jobs.api.schema import OPTIONAL_BODY
from jobs.types import JobType

REF = "#/components/schemas/{name}"
ANSWERS = (
    auth.Credentials,
    auth.RefreshRequest,
    auth.Tokens,
    problems.Problem,
    shapes.AcceptedJob,
    batch_shapes.AcceptedBatch,
    batch_shapes.Batch,
    shapes.Job,
    shapes.JobPage,
    events.EventList,
    schedule_shapes.Schedule,
    schedule_shapes.SchedulePage,
    shapes.DeadLetter,
    shapes.DeadLetterPage,
    shapes.ManyDecided,
    selections.RequeueRequest,
    selections.DiscardRequest,
    selections.DecisionRequest,
    selections.RedriveRequest,
    selections.DiscardManyRequest,
    selections.ResolveManyRequest,
    destinations.NewDestination,
    destinations.Destination,
    destinations.DestinationList,
    suppression_shapes.NewSuppressions,
    suppression_shapes.AddedSuppressions,
    suppression_shapes.Suppression,
    suppression_shapes.SuppressionPage,
    template_shapes.NewTemplate,
    template_shapes.NewVersion,
    template_shapes.PreviewRequest,
    template_shapes.Template,
    template_shapes.TemplatePage,
    template_shapes.VersionPage,
    template_shapes.Preview,
    shapes.WorkerList,
    shapes.Health,
    shapes.Alive,
    requests.Options,
)
CORRELATION_ID = {
    "name": "X-Correlation-ID",
    "in": "header",
    "description": "Yours, to find the request in logs and in the mail's headers; one is made when it is absent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
}
HEADERS = {
    "CorrelationId": {"description": "The request's, echoed or made.", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Ask again after this many seconds.", "schema": {"type": "integer"}},
    "Authenticate": {"description": "The scheme to use (RFC 9110 §11.6.1).", "schema": {"type": "string"}},
}
HEADER_OF_STATUS = {
    "401": ("WWW-Authenticate", "Authenticate"),
    "429": ("Retry-After", "RetryAfter"),
    "503": ("Retry-After", "RetryAfter"),
}
IN_FLIGHT = "idempotency_key_in_flight"


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's hook: the components, and what every operation shares."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas())
    components["parameters"] = {"CorrelationId": CORRELATION_ID}
    components["headers"] = HEADERS
    for operations in result["paths"].values():
        for operation in operations.values():
            _share(operation)
    return result


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of all that goes in and out, by component name."""
    _, found = msgspec.json.schema_components(ANSWERS, ref_template=REF)
    options = found.pop("Options")["properties"]
    return found | payloads.schemas() | _new_jobs(options)


def _new_jobs(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    shapes_of_types = payloads.schemas()
    typed, nested, named = [], [], []
    for type_ in types.every():
        component = type_.payload.__name__
        payload = _payload(type_)
        typed.append(_job({"type": {"const": type_.name}, "payload": payload}, options))
        named.append(_job({"name": {"const": type_.name}, "payload": payload}, options))
        nested.append(_job({"payload": _with_type(shapes_of_types[component], type_.name)}, options))
    short = _job(shapes_of_types["WelcomeEmailPayload"]["properties"], options)
    short["title"] = "A welcome email, deduplicated on exactly these two"
    return {
        "NewJob": {"description": "A job and its options.", "anyOf": [*typed, short, *nested]},
        "NewBatch": _object(
            {"jobs": {"type": "array", "items": {}, "minItems": 1, "maxItems": batches.MOST}},
            {
                "webhook": {
                    "type": ["string", "null"],
                    "description": "Your destination that is told when all have ended.",
                }
            },
            description="Many jobs. Each is a NewJob; one that is not is refused alone, with its index.",
        ),
        "NewSchedule": {
            "description": "When, and a job and its options.",
            "anyOf": [_schedule(type_, options) for type_ in types.every()],
        },
        "NamedJob": {
            "description": "The same, with `name` for `type`.",
            "anyOf": [*named, {"$ref": REF.format(name="NewJob")}],
        },
    }


def _payload(type_: JobType) -> dict[str, Any]:
    shape = {"$ref": REF.format(name=type_.payload.__name__)}
    if not type_.from_text:
        return shape
    return {"anyOf": [shape, {"type": "string", "description": f"Stands for `{type_.from_text}`."}]}


def _schedule(type_: JobType, options: dict[str, Any]) -> dict[str, Any]:
    job = {"type": {"const": type_.name}, "payload": _payload(type_)}
    of_each_run = {name: options[name] for name in schedules.OPTIONS}
    return _object(schedule_shapes.REQUIRED | job, schedule_shapes.OPTIONAL | of_each_run)


def _job(required: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return _object(required, options)


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _with_type(schema: dict[str, Any], type_: str) -> dict[str, Any]:
    properties = {"type": {"const": type_}} | schema["properties"]
    return (
        schema
        | {"title": f"{schema['title']} with its type", "properties": properties}
        | {"required": ["type", *schema["required"]]}
    )


def _share(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/CorrelationId"})
    if "requestBody" in operation:
        operation["requestBody"]["required"] = not operation.pop(OPTIONAL_BODY, False)
    for status, response in operation["responses"].items():
        headers = response.setdefault("headers", {})
        headers["X-Correlation-ID"] = {"$ref": "#/components/headers/CorrelationId"}
        if status in HEADER_OF_STATUS:
            name, component = HEADER_OF_STATUS[status]
            headers[name] = {"$ref": f"#/components/headers/{component}"}
        if IN_FLIGHT in response["description"]:
            headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
