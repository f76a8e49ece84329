"""Every error as one shape: RFC 9457 problem+json plus `code` for programs and `errors` by field.

Nothing of ours, of Django or of REST framework answers an error in another shape, save the admin's pages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpResponse, UnreadablePostError
from rest_framework import exceptions

from jobs.database import is_away, sqlstate
from jobs.errors import Refused

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
AWAY_RETRY_SECONDS = 5
FOREIGN_KEY_VIOLATION = "23503"
REMEDIES = {  # the framework's own words say what is wrong, but not what to do
    "not_authenticated": "Send `Authorization: Bearer <access_token>`; POST /login answers with one.",
    "bad_authorization_header": "Write the header as `Authorization: Bearer <access_token>`: two words.",
    "token_not_valid": "This token has expired, or is no access token of ours. POST /refreshToken or /login.",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457). `detail` is for people, `code` for programs, `errors` names the fields."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    correlation_id: str | None = None
    errors: dict[str, list[str]] = {}


def problem(
    request: Any,
    *,
    status: int,
    code: str,
    detail: str,
    fields: dict[str, list[str]] | None = None,
    retry_after: int | None = None,
) -> HttpResponse:
    """The answer to a request that is refused or that failed; `retry_after` in seconds."""
    body = _problem(status, code, detail, fields or {}, getattr(request, "correlation_id", None))
    response = HttpResponse(msgspec.json.encode(body), status=status, content_type=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"  # RFC 9110 §11.6.1: a 401 names the scheme
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def of_refusal(error: Refused) -> Problem:
    """The same about one of many, inside an answer about all."""
    return _problem(error.status, error.code, error.detail, error.fields)


def _problem(
    status: int, code: str, detail: str, fields: dict[str, list[str]], correlation_id: str | None = None
) -> Problem:
    return Problem(
        type="about:blank",  # RFC 9457 §4.2.1: the title is the status's phrase
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        correlation_id=correlation_id,
        errors=fields,
    )


def answer(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """REST framework's exception handler: the problem for whatever a view raised."""
    request = context["request"]
    if isinstance(error, Refused):
        return _refused(error, request)
    if isinstance(error, exceptions.APIException):
        return _of_framework(error, request)
    if isinstance(error, Http404):
        return not_found(request)
    if isinstance(error, PermissionDenied):
        return problem(request, status=403, code="permission_denied", detail="You may not do this.")
    if isinstance(error, UnreadablePostError):
        return problem(request, status=400, code="invalid", detail="The body ended early. Send it again.")
    return _of_database(error, request) or _failed(error, request)


def not_found(request: Any, detail: str = "There is no such thing, or it is not yours.") -> HttpResponse:
    return problem(request, status=404, code="not_found", detail=detail)


def unavailable(request: Any) -> HttpResponse:
    return problem(
        request,
        status=503,
        code="unavailable",
        detail="The database is away; nothing can be promised. Ask again, with the same Idempotency-Key.",
        retry_after=AWAY_RETRY_SECONDS,
    )


def server_error(request: Any) -> HttpResponse:
    return problem(
        request, status=500, code="internal", detail="Something failed here. The log has it by its correlation id."
    )


def _refused(error: Refused, request: Any) -> HttpResponse:
    return problem(
        request,
        status=error.status,
        code=error.code,
        detail=error.detail,
        fields=error.fields,
        retry_after=error.retry_after,
    )


def _of_framework(error: exceptions.APIException, request: Any) -> HttpResponse:
    code = _code(error)
    response = problem(request, status=_status(error), code=code, detail=REMEDIES.get(code) or _text(error.detail))
    if isinstance(error, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(getattr(request.parser_context.get("view"), "allowed_methods", []))
    return response


def _status(error: exceptions.APIException) -> int:
    """REST framework turns a missing token into 403 where a view names no scheme; ours is always Bearer."""
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return HTTPStatus.UNAUTHORIZED
    return error.status_code


def _code(error: exceptions.APIException) -> str:
    """simplejwt writes its code into the detail; the framework has one of its own."""
    if isinstance(error.detail, dict):
        return str(error.detail.get("code", error.default_code))
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _text(detail: Any) -> str:
    if isinstance(detail, dict):
        detail = detail.get("detail", "")
    return str(detail)


def _of_database(error: Exception, request: Any) -> HttpResponse | None:
    if is_away(error) or isinstance(error, OperationalError):
        log.warning("database_away", error=type(error).__name__, sqlstate=sqlstate(error))
        return unavailable(request)
    if isinstance(error, IntegrityError) and sqlstate(error) == FOREIGN_KEY_VIOLATION:
        # All that a client's write refers to is its own user: the token outlived it.
        return problem(request, status=401, code="user_not_found", detail="The user of this token is gone. Log in.")
    return None


def _failed(error: Exception, request: Any) -> HttpResponse:
    got_request_exception.send(sender=None, request=request)  # what Django itself does: error trackers listen
    log.exception("request_failed", error=type(error).__name__)
    return server_error(request)
