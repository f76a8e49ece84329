"""Email services that are reached over HTTP, as EMAIL_PROVIDERS names them: any of django-anymail's.

    anymail+postmark://?server_token=TOKEN
    anymail+mailgun://?api_key=KEY&sender_domain=mg.example.org

The query holds what anymail's backend of this service takes, by anymail's names; values are percent-encoded.
`connections`, `rate` and `then` are ours, as with SMTP (providers.py). anymail is not loaded here: whether the backend
takes these parameters is seen when a worker makes its channels (workers/esp_backend.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Final
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from jobs import rates
from jobs.rates import Rate

SCHEME: Final = "anymail+"
# Of anymail's: what others stand on, what sends nothing, and an old name of Brevo's.
NOT_SERVICES: Final = frozenset({"base", "base_requests", "console", "test", "sendinblue"})
# It speaks through boto3, which asks again by itself: a message could be taken twice.
NOT_BY_HTTP: Final = {"amazon_ses": "for Amazon SES use its SMTP interface: smtp+tls://user:pass@host:587"}
# Sendonce's business, or nobody's: one prints keys to the terminal.
NOT_PARAMETERS: Final = frozenset(
    {"alias", "debug_api_requests", "fail_silently", "ignore_recipient_status"}
    | {"requests_timeout", "send_defaults", "timeout"}
)
_FLAGS: Final = {"true": True, "false": False}
_EXAMPLE: Final = "Example: pm=anymail+postmark://?server_token=TOKEN"


@dataclass(frozen=True, slots=True)
class EspEndpoint:
    """One email service and our account there. Its parameters, keys among them, show in no repr."""

    alias: str
    esp: str  # as anymail's module is named: "mailgun"
    parameters: dict[str, str | bool] = field(repr=False)
    connections: int  # at most, from one worker process
    rates: tuple[Rate, ...] = ()  # at most, from all of them
    then: str | None = None  # the alias that stands in for it

    @property
    def secrets(self) -> list[str]:
        """Texts that nobody is to read in a log."""
        return [value for value in self.parameters.values() if isinstance(value, str)]


def is_esp(url: str) -> bool:
    return url.startswith(SCHEME)


@cache
def services() -> list[str]:
    """Those that anymail has a backend for and that can be used here."""
    spec = find_spec("anymail.backends")
    names = {module.name for module in iter_modules(spec.submodule_search_locations if spec else [])}
    return sorted(names - NOT_SERVICES - NOT_BY_HTTP.keys())


def parse(alias: str, url: str, *, connections: int, most_connections: int) -> EspEndpoint:
    """The service behind one alias=URL; `connections` is the default. Raises ImproperlyConfigured; no message shows a
    value, which may be a secret."""
    service, is_there, query = url.removeprefix(SCHEME).partition("://")
    esp = service.lower().replace("-", "_")
    if esp in NOT_BY_HTTP:
        raise wrong(alias, f"{NOT_BY_HTTP[esp]}.")
    if esp not in services():
        # Not shown: where the :// was forgotten, the service's name is the whole URL.
        raise wrong(alias, f"there is no such email service. Known: {', '.join(services())}.")
    if not is_there or not query.removeprefix("/").startswith("?"):
        raise wrong(alias, f"behind anymail+{esp}:// come ? and parameters, with & between. {_EXAMPLE}")
    parameters = _parameters(alias, query.removeprefix("/").removeprefix("?"))
    number = parameters.pop("connections", str(connections))
    if not number.isdecimal() or not 1 <= int(number) <= most_connections:
        raise wrong(alias, f"connections is a number from 1 to {most_connections}.")
    then, limit = parameters.pop("then", None), parameters.pop("rate", None)
    try:
        most = rates.parse(limit) if limit else ()
    except ValueError as error:
        raise wrong(alias, f"rate: {error}") from None
    flagged = {name: _FLAGS.get(value.lower(), value) for name, value in parameters.items()}
    return EspEndpoint(alias, esp, flagged, int(number), most, then)


def _parameters(alias: str, query: str) -> dict[str, str]:
    """A + is a +, as keys have it."""
    found: dict[str, str] = {}
    for entry in query.split("&"):
        name, is_there, value = entry.partition("=")
        if not is_there or not value or not name.isidentifier() or name in found:
            raise wrong(alias, f"parameters are name=value, each once and not empty, with & between. {_EXAMPLE}")
        if name in NOT_PARAMETERS:
            raise wrong(alias, f"{name} is not for here; take it out.")
        found[name] = unquote(value)
    return found


def wrong(alias: str, remedy: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"EMAIL_PROVIDERS: {alias!r}: {remedy}")
