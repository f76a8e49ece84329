"""Everything that can go wrong, as one tree.

SendonceError
├── Refused             the door says no; nothing was accepted, nothing changed
│   ├── InvalidRequest      400  fields by name
│   ├── NotFound            404
│   ├── TooLate             409  the job has moved on
│   │   ├── AlreadySent         409  another job of its key was sent; an override sends once more
│   │   └── InFlight            409  another job of its key is on its way
│   ├── NameTaken           409  the owner has one of this name
│   ├── KeyInFlight         409  the same key is still being accepted; ask again
│   ├── TooLarge            413
│   ├── KeyReused           422  the same key with another body
│   ├── QueueFull           429  ask again
│   └── Unavailable         503  PostgreSQL is away; ask again
└── DeliveryError       a try that did not (provably) send
    ├── Transient           try again, perhaps after a time the other side named
    ├── Permanent           trying again cannot help
    │   └── Invalid             the job itself cannot be read or built
    ├── Interrupted         we stopped before the point of no return; nothing was sent
    │   └── Postponed           nobody is to be called now
    ├── Unanswered          the point of no return was passed and no reply came
    └── ClaimLost           the dot mark was refused: the job is no longer ours

The docstring of a class is its default message.
"""

from __future__ import annotations


class SendonceError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").strip().split("\n")[0]
        super().__init__(self.detail)


class Refused(SendonceError):
    """The request was refused."""

    status = 400
    code = "refused"

    def __init__(
        self,
        detail: str | None = None,
        *,
        fields: dict[str, list[str]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.fields = fields or {}
        self.retry_after = retry_after


class InvalidRequest(Refused):
    """The request has errors; see `fields`."""

    status = 400
    code = "invalid"

    @classmethod
    def field(cls, name: str, message: str) -> InvalidRequest:
        return cls(f"{name}: {message}", fields={name: [message]})


class NotFound(Refused):
    """There is no such thing, or it is not yours."""

    status = 404
    code = "not_found"


class TooLate(Refused):
    """The job has moved on; this can no longer be done."""

    status = 409
    code = "too_late"


class AlreadySent(TooLate):
    """Another job of the same key was sent."""

    code = "already_sent"
    remedy = (
        'To send once more all the same, requeue with {"override": true, "note": "why"}; '
        "to leave it at that, discard this one."
    )


class InFlight(TooLate):
    """Another job of the same key is on its way, or undecided."""

    code = "in_flight"
    remedy = "Its outcome answers for this one, too; decide afterwards."


class NameTaken(Refused):
    """You have one of this name."""

    status = 409
    code = "name_taken"


class KeyInFlight(Refused):
    """A request with this idempotency key is still being accepted."""

    status = 409
    code = "idempotency_key_in_flight"


class TooLarge(Refused):
    """The body is too large."""

    status = 413
    code = "too_large"


class KeyReused(Refused):
    """This idempotency key was used with another body."""

    status = 422
    code = "idempotency_key_reused"


class QueueFull(Refused):
    """Too many jobs are waiting. Nothing was accepted; ask again, with the same Idempotency-Key."""

    status = 429
    code = "queue_full"


class Unavailable(Refused):
    """The database is away; nothing was accepted."""

    status = 503
    code = "unavailable"


ASK_AGAIN = (KeyInFlight, QueueFull, Unavailable)  # not the request's fault, and over soon


class DeliveryError(SendonceError):
    """The message was not sent.

    `code` is the other side's number (an SMTP reply code, an HTTP status) or None;
    `kind` is a short bounded word for metrics and for `last_error`.
    """

    def __init__(
        self,
        detail: str | None = None,
        *,
        kind: str = "error",
        code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.code = code
        self.retry_after = retry_after


class Transient(DeliveryError):
    """It may work later."""


class Permanent(DeliveryError):
    """Trying again cannot help."""


class Invalid(Permanent):
    """The job cannot be read or built."""


class Interrupted(DeliveryError):
    """We stopped before the point of no return; nothing was sent."""


class Postponed(Interrupted):
    """Nobody is to be called now; nothing was sent."""

    def __init__(self, detail: str | None = None, *, kind: str, wait_seconds: float) -> None:
        super().__init__(detail, kind=kind)
        self.wait_seconds = wait_seconds


class Unanswered(DeliveryError):
    """The message was handed over and no reply came."""


class ClaimLost(DeliveryError):
    """The claim is no longer ours; nothing was sent."""
