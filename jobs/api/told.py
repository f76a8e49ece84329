"""The door for email services: what became of mails, verified by django-anymail and then written down.

    POST https://name:secret@HOST/events/postmark

Loaded where EVENT_SECRETS is set; it loads anymail. The secret is asked of everybody, and of services that sign what
they tell their signature, too. The answer comes after the commit, and says in its status whether to tell it again.
"""

from __future__ import annotations

from typing import Any

import structlog
from anymail import urls
from anymail.exceptions import AnymailConfigurationError, AnymailError, AnymailWebhookValidationFailure
from anymail.utils import get_request_basic_auth
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from jobs import events
from jobs.api import problems
from jobs.conf import tunables
from jobs.database import is_away

log = structlog.get_logger(__name__)

TRACKING = "_tracking_webhook"
NOT_USED = ("amazon_ses", "sendinblue")  # workers/esp_endpoint.py; the first would fetch what a stranger names
# What a holder of the secret sends, and is none: too deep, too large, cut off, of other shapes.
UNREADABLE = (
    *(AnymailError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(RecursionError, OverflowError, OSError),
)


class _Recording:
    """Instead of a signal for each event: one transaction for all of a call."""

    esp: str

    def post(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.run_validators(request)
        told = self.parse_events(request)
        news = [found for event in told if (found := events.read(self.esp, event)) is not None]
        tally = events.record(news)
        log.info(
            "events_told",
            esp=self.esp,
            told=len(told),
            new=tally.new,
            told_before=tally.told_before,
            unmatched=tally.unmatched,
            suppressed=tally.suppressed,
        )
        return HttpResponse()


def _views() -> dict[str, Any]:
    """Anymail's own, by service."""
    found = {}
    for pattern in urls.urlpatterns:
        name = (pattern.name or "").removesuffix(TRACKING)
        if name == "mandrill_webhook":
            name = "mandrill"
        elif name == pattern.name:  # for mail that comes in
            continue
        if name in NOT_USED:
            continue
        kind = pattern.callback.view_class
        found[name] = type(kind.__name__, (_Recording, kind), {"esp": name}).as_view()  # type: ignore[attr-defined]
    return found


VIEWS = _views()


@csrf_exempt
def told(request: HttpRequest, esp: str) -> HttpResponse:
    """2xx: written down, or nothing that we keep. 503: tell it again."""
    if esp not in VIEWS:
        return problems.not_found(request, f"No email service has this name. Known: {', '.join(sorted(VIEWS))}.")
    limit = tunables().max_attachment_body_bytes
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > limit:
        return problems.problem(
            request, status=413, code="too_large", detail=f"At most {limit} bytes. Have fewer events sent at once."
        )
    if request.method == "POST":
        if not request.META.get("HTTP_AUTHORIZATION"):
            return _who_is_there(request)
        if not _knows_a_secret(request):  # before anybody reads what was sent: some signatures are in it
            return _refused(request, esp, "no secret of EVENT_SECRETS")
    try:
        return VIEWS[esp](request)
    except AnymailWebhookValidationFailure as error:
        return _refused(request, esp, str(error.args[0]))
    except AnymailConfigurationError as error:
        log.error("events_not_set_up", esp=esp, error=str(error))
        return problems.problem(
            request, status=503, code="unavailable", detail="This service's key is not set up.", retry_after=600
        )
    except DatabaseError as error:
        if not is_away(error):
            raise
        return problems.unavailable(request)
    except UNREADABLE:
        log.exception("events_unreadable", esp=esp)
        return problems.problem(
            request, status=400, code="invalid", detail="These are no events as this service's documentation has them."
        )


def _knows_a_secret(request: HttpRequest) -> bool:
    said = get_request_basic_auth(request) or ""
    return any(constant_time_compare(said, secret) for secret in settings.ANYMAIL["WEBHOOK_SECRET"])


def _refused(request: HttpRequest, esp: str, why: str) -> HttpResponse:
    log.warning("events_refused", esp=esp, error=why)
    return problems.problem(
        request,
        status=403,
        code="permission_denied",
        detail="Neither a secret of EVENT_SECRETS nor, where the service signs, a valid signature.",
    )


def _who_is_there(request: HttpRequest) -> HttpResponse:
    """Some send the URL's name and secret only when they are asked for it."""
    answer = problems.problem(
        request, status=401, code="not_authenticated", detail="Put a name:secret of EVENT_SECRETS into the URL."
    )
    answer["WWW-Authenticate"] = 'Basic realm="events"'
    return answer
