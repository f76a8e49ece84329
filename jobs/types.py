"""The types of job, in one registry for the API, the workers, the clock and the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules
from msgspec import Struct

from jobs.rules import Problem
from jobs.states import DestinationKind, Lane, OnUnknown, Priority

MOST_ATTEMPTS = 50
MODULE = "job_types"  # of any Django app: imported when Django starts, as `admin` is
Payload = TypeVar("Payload", bound=Struct)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


def _nothing(payload: Any, at: str) -> Iterator[Problem]:
    return iter(())


def _nobody(payload: Any) -> list[str]:
    return []


class Retry(Struct, frozen=True, kw_only=True):
    """How often a job is tried, and how long it waits in between. None: as the installation is set (MAX_ATTEMPTS,
    RETRY_BASE_SECONDS, RETRY_CAP_SECONDS)."""

    attempts: int | None = None
    base_seconds: float | None = None  # after the first attempt; twice as long after each further one …
    cap_seconds: float | None = None  # … up to this
    schedule: tuple[float, ...] = ()  # instead: seconds after the first attempt, the second, …; then the last again


class JobType(Struct, frozen=True, kw_only=True):
    """What one type of job wants. `payload` is the shape that its payloads have to fit; `rules` yields (path, message)
    for all else that is wrong with one that stands at a path; `recipients` are whom it reaches.

    `priority`, `retry` and `on_unknown` are those of jobs that do not say otherwise; the installation's ON_UNKNOWN
    comes before the type's. `may_be_repeated`: to do it twice harms nobody. If it does, what a handler left undone, by
    an error that nobody foresaw or because it was killed at its limit, is an unknown, as with an email.
    """

    name: str
    payload: type[Struct]
    rules: Callable[[Any, str], Iterator[Problem]] = _nothing
    recipients: Callable[[Any], list[str]] = _nobody
    priority: Priority = Priority.DEFAULT
    retry: Retry = Retry()
    on_unknown: OnUnknown = OnUnknown.HOLD
    handler: Handler | None = None  # without one a channel carries it
    time_limit_seconds: float = 60.0  # of one attempt of the handler
    may_be_repeated: bool = False
    destination: DestinationKind | None = None  # the payload's `destination` names one of this kind
    from_text: str | None = None  # the field that is meant when the payload is plain text
    written_as: type[Struct] | None = None  # what a template makes of the payload at acceptance; this is kept

    @property
    def lane(self) -> Lane:
        """A handler needs a process; a channel does not."""
        return Lane.TASKS if self.handler else Lane.MESSAGES

    @property
    def is_email(self) -> bool:
        """Providers of EMAIL_PROVIDERS carry it."""
        return self.handler is None and self.destination is None

    @property
    def kept(self) -> type[Struct]:
        """The shape of payloads in the database."""
        return self.written_as or self.payload


class RunningJob(Struct, Generic[Payload], frozen=True, kw_only=True):
    """What a handler gets: a job, and how long it may take."""

    id: UUID
    type: str
    payload: Payload
    attempt: int  # from 1
    max_attempts: int
    correlation_id: str
    idempotency_key: str  # the same on each attempt: hand it on, so that others do nothing twice either
    deadline: datetime  # then its process is ended

    @property
    def seconds_left(self) -> float:
        """Until the deadline; negative after it."""
        return (self.deadline - datetime.now(UTC)).total_seconds()


Handler = Callable[[RunningJob[Any]], Any]
H = TypeVar("H", bound=Handler)

_types: dict[str, JobType] = {}


def job_type(name: str, *, payload: type[Struct], **wishes: Any) -> Callable[[H], H]:
    """Make a function the handler of a new type of job. `wishes` are fields of JobType.

    It gets a RunningJob and may be async. What it returns, an object of JSON or None, becomes the job's `result`. To be
    tried again it raises jobs.errors.Transient, perhaps with `retry_after` seconds; Permanent when that cannot help.
    """

    def register_with(handler: H) -> H:
        register(JobType(name=name, payload=payload, handler=handler, **wishes))
        return handler

    return register_with


def register(type: JobType) -> None:
    """Raises ImproperlyConfigured for a name that is taken or that no name can be, for wishes that make no sense, and
    for a payload's shape that another has the name of: both would be one in the OpenAPI document."""
    if not _NAME.fullmatch(type.name):
        raise ImproperlyConfigured(f"Job type {type.name!r}: 1 to 100 of a-z, 0-9, `_`, `.` and `-`, not first a sign.")
    for wrong in _misgivings(type):
        raise ImproperlyConfigured(f"Job type {type.name!r}: {wrong}")
    if type.name in _types:
        raise ImproperlyConfigured(f"There are two job types {type.name!r}; the names are shared by all apps.")
    for other in _types.values():
        if other.payload is not type.payload and other.payload.__name__ == type.payload.__name__:
            raise ImproperlyConfigured(
                f"The payloads of job types {other.name!r} and {type.name!r} are different classes of one name, "
                f"{type.payload.__name__}; rename one."
            )
    _types[type.name] = type


def _misgivings(type: JobType) -> Iterator[str]:
    fields = {field.encode_name for field in msgspec.structs.fields(type.payload)}
    if type.from_text is not None and type.from_text not in fields:
        yield f"from_text names {type.from_text!r}, which is no field of {type.payload.__name__}."
    if not 0 < type.time_limit_seconds < float("inf"):
        yield f"time_limit_seconds is {type.time_limit_seconds}; give a number of seconds above 0."
    if type.retry.attempts is not None and not 1 <= type.retry.attempts <= MOST_ATTEMPTS:
        yield f"retry.attempts is {type.retry.attempts}; give 1 to {MOST_ATTEMPTS}."
    if not all(0 <= seconds < float("inf") for seconds in type.retry.schedule):
        yield f"retry.schedule is {type.retry.schedule}; give numbers of seconds, 0 or more."
    if type.destination and "destination" not in fields:
        yield f"{type.payload.__name__} has no field `destination`, which would name one."
    for name in ("base_seconds", "cap_seconds"):
        seconds = getattr(type.retry, name)
        if seconds is not None and not 0 <= seconds < float("inf"):
            yield f"retry.{name} is {seconds}; give a number of seconds, 0 or more."


def find(name: object) -> JobType | None:
    """The type of this name, if there is one."""
    return _types.get(name) if isinstance(name, str) else None


def names() -> list[str]:
    """Of all types, in alphabetical order."""
    return sorted(_types)


def every() -> list[JobType]:
    """All types, in the order of their registration."""
    return list(_types.values())


def discover() -> None:
    """Import the module `job_types` of each Django app that has one."""
    autodiscover_modules(MODULE)
