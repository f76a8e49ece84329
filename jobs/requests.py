"""What a client asks for: one job and its options, read strictly, with every error named by its field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jobs import payloads, types
from jobs.conf import Tunables, tunables
from jobs.errors import InvalidRequest
from jobs.states import OnUnknown, Priority
from jobs.types import MOST_ATTEMPTS, JobType

MAX_KEY = 255
LONGEST_DELAY_SECONDS = 366 * 24 * 3600.0


Key = Annotated[str | None, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_KEY})]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand beside `type` and `payload`. The notes are for the OpenAPI document; `_check` has the rules."""

    idempotency_key: Annotated[
        Key, Meta(description="The same request again, within 24 h, gets the first answer. Also as a header.")
    ] = None
    dedupe_key: Annotated[
        Key,
        Meta(
            description="Of your jobs with the same key only one is ever sent. Without it the idempotency key "
            "counts; without that, `{email, name}` has itself for a key, and any other job has none."
        ),
    ] = None
    run_at: Annotated[datetime | None, Meta(description="Not before this time; with a time zone.")] = None
    delay_seconds: Annotated[
        float | None,
        Meta(
            description="Not before so many seconds from now; instead of `run_at`.",
            extra_json_schema={"minimum": 0, "maximum": LONGEST_DELAY_SECONDS},
        ),
    ] = None
    expires_at: Annotated[datetime | None, Meta(description="Not taken up after this time; with a time zone.")] = None
    priority: Annotated[
        Priority | None, Meta(description="Without it the type's, which is `default` for most types.")
    ] = None
    max_attempts: Annotated[
        int | None,
        Meta(
            description="Attempts before the job becomes a dead letter. Without it the type's, or the installation's.",
            extra_json_schema={"minimum": 1, "maximum": MOST_ATTEMPTS},
        ),
    ] = None
    on_unknown: Annotated[
        OnUnknown | None,
        Meta(
            description="When nobody can know whether it went out: `hold` for a person, `resend`, or `assume_sent`. "
            "Without it the installation's choice for the type counts, and without one the type's own, mostly `hold`."
        ),
    ] = None
    provider: Annotated[str | None, Meta(description="An alias of EMAIL_PROVIDERS; without it the first.")] = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One validated request for a job."""

    type: JobType
    payload: dict[str, Any]  # as it will be stored
    recipients: list[str]
    options: Options
    fingerprint: bytes  # 16 bytes of the body: the same key with another one is refused
    implied_dedupe_key: str | None = None

    @property
    def priority(self) -> Priority:
        """What the request says, else its type."""
        return self.options.priority or self.type.priority

    @property
    def max_attempts(self) -> int:
        """What the request says, else its type, else the installation."""
        return self.options.max_attempts or self.type.retry.attempts or tunables().max_attempts

    @property
    def on_unknown(self) -> OnUnknown:
        """What the request says, else the installation of its type, else the type itself."""
        return self.options.on_unknown or tunables().on_unknown_of(self.type.name) or self.type.on_unknown

    @property
    def dedupe_key(self) -> str | None:
        """The caller's key, else what the body implies, else the idempotency key, else none: the job itself."""
        return self.options.dedupe_key or self.implied_dedupe_key or self.options.idempotency_key


def read(body: object, *, idempotency_key: str | None = None) -> JobRequest:
    """Read one request body; `idempotency_key` is the header's.

    Understood: `{"type", "payload", …options}`, `{"payload": {"type", …}}`, `{"name", "payload"}` as
    `submit_job` clients write it, and `{"email", "name"}`: a welcome email, deduplicated on exactly these.
    Raises InvalidRequest with every field that is wrong.
    """
    fields = _as_object(body)
    if "type" not in fields and "payload" not in fields:
        return _welcome(fields, header_key=idempotency_key, body=body)
    name, raw, rest = _split(fields)
    options = _options(rest, header_key=idempotency_key)
    type_ = payloads.type_of(name)
    payload = payloads.read(type_, raw)
    return JobRequest(
        type=type_,
        payload=payloads.as_stored(payload),
        recipients=type_.recipients(payload),
        options=options,
        fingerprint=_fingerprint(body),
    )


def _as_object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest.field("body", 'Send a JSON object, for example {"type": "email", "payload": {…}}.')
    return dict(body)


def _welcome(fields: dict[str, Any], *, header_key: str | None, body: object) -> JobRequest:
    """The short form of /addJob."""
    if "email" not in fields:
        raise InvalidRequest.field(
            "type", 'Send {"type", "payload"}, or {"email", "name"} for a welcome email. ' + known_types()
        )
    raw = {name: fields.pop(name) for name in ("email", "name") if name in fields}
    options = _options(fields, header_key=header_key)
    type_ = payloads.type_of("welcome_email")
    payload = payloads.read(type_, raw, at="")
    stored, recipients = payloads.as_stored(payload), type_.recipients(payload)
    return JobRequest(
        type=type_,
        payload=stored,
        recipients=recipients,
        options=options,
        fingerprint=_fingerprint(body),
        implied_dedupe_key=f"welcome_email:{recipients[0]}:{stored['name']}",
    )


def _split(fields: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    raw = fields.pop("payload", None)
    type_ = fields.pop("type", None)
    if type_ is None and isinstance(raw, Mapping) and "type" in raw:
        raw = dict(raw)
        type_ = raw.pop("type")
    if type_ is None:
        type_ = fields.pop("name", None)
    if not isinstance(type_, str):
        raise InvalidRequest.field("type", f"Required, a string. {known_types()}")
    if raw is None:
        raise InvalidRequest.field("payload", f"Required: what a job of type {type_!r} needs.")
    return type_, raw, fields


def known_types() -> str:
    return f"Known types: {', '.join(types.names())}."


def _options(rest: dict[str, Any], *, header_key: str | None) -> Options:
    try:
        options = msgspec.convert(rest, Options)
    except msgspec.ValidationError as error:
        raise _misread(error, rest) from None
    errors = _check(options, header_key=header_key, conf=tunables())
    if errors:
        raise InvalidRequest("; ".join(f"{n}: {m[0]}" for n, m in errors.items()), fields=errors)
    if header_key and not options.idempotency_key:
        options = msgspec.structs.replace(options, idempotency_key=header_key)
    return options


def _misread(error: msgspec.ValidationError, rest: dict[str, Any]) -> InvalidRequest:
    known = {field.name for field in msgspec.structs.fields(Options)}
    unknown = sorted(set(rest) - known)
    if unknown:
        hint = f"Unknown field. Known: type, payload, {', '.join(sorted(known))}."
        return InvalidRequest(f"{unknown[0]}: {hint}", fields={name: [hint] for name in unknown})
    text, _, path = str(error).partition(" - at `$.")
    name = path.rstrip("`") or "body"
    choices = {"priority": Priority, "on_unknown": OnUnknown}.get(name)
    example = " Example: 2030-01-31T12:00:00Z." if name in ("run_at", "expires_at") else ""
    hint = f"One of {', '.join(choices)}." if choices else f"{text}.{example}"
    return InvalidRequest.field(name, hint)


def _check(options: Options, *, header_key: str | None, conf: Tunables) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in ("idempotency_key", "dedupe_key"):
        key = getattr(options, name)
        if key is not None and not is_key(key):
            errors[name] = [f"1 to {MAX_KEY} printable characters."]
    if header_key and options.idempotency_key and header_key != options.idempotency_key:
        errors["idempotency_key"] = ["Differs from the Idempotency-Key header; send one of them."]
    if options.run_at is not None and options.delay_seconds is not None:
        errors["delay_seconds"] = ["Send run_at or delay_seconds, not both."]
    if options.delay_seconds is not None and not 0 <= options.delay_seconds <= LONGEST_DELAY_SECONDS:
        errors["delay_seconds"] = [f"Between 0 and {LONGEST_DELAY_SECONDS:.0f} seconds."]
    errors |= _check_times(options)
    if options.max_attempts is not None and not 1 <= options.max_attempts <= MOST_ATTEMPTS:
        errors["max_attempts"] = [f"Between 1 and {MOST_ATTEMPTS}."]
    if options.provider is not None and options.provider not in conf.email_providers:
        errors["provider"] = [f"Not configured. Known: {', '.join(conf.email_providers)}."]
    return errors


def _check_times(options: Options) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in ("run_at", "expires_at"):
        at = getattr(options, name)
        if at is None:
            continue
        if at.tzinfo is None:
            errors[name] = ["Give the time zone, for example 2030-01-31T12:00:00Z."]
        elif not 2000 <= at.year <= 9000:
            errors[name] = ["Not a sensible time: between the years 2000 and 9000."]
    if not errors and options.expires_at and options.run_at and options.expires_at <= options.run_at:
        errors["expires_at"] = ["Not later than run_at: the job could never be sent."]
    return errors


def is_key(key: str) -> bool:
    """Whether this can be an idempotency or dedupe key."""
    return 0 < len(key) <= MAX_KEY and key.isprintable() and key.strip() == key


def _fingerprint(body: object) -> bytes:
    """The body's meaning, whatever the order of its members."""
    return hashlib.blake2b(msgspec.json.encode(body, order="deterministic"), digest_size=16).digest()
