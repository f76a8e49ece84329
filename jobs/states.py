"""The words for where a job, a delivery and a dead letter can stand.

The moves between them are in `transitions`; the picture is in docs/state-machine.md.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands, as clients see it."""

    SCHEDULED = "scheduled"  # due later, or waiting for its next attempt
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"  # dead-lettered
    UNKNOWN = "unknown"  # nobody can know whether it went out; a person decides
    CANCELLED = "cancelled"
    EXPIRED = "expired"


LIVE = frozenset({Status.SCHEDULED, Status.QUEUED, Status.RUNNING, Status.UNKNOWN})
FINAL = frozenset(Status) - LIVE
# Somebody may look for these among many others. Most jobs are completed; those on their way are few, or come first.
RARE = frozenset({Status.SCHEDULED, Status.FAILED, Status.UNKNOWN, Status.CANCELLED, Status.EXPIRED})


class Lane(StrEnum):
    """Where a job waits for a worker: jobs that only talk to others, hundreds at once, do not wait behind those that
    need a process each, nor those behind them."""

    MESSAGES = "messages"
    TASKS = "tasks"


class DeliveryState(StrEnum):
    """Where the L2 row of a dedupe key stands."""

    CLAIMED = "claimed"  # a running job may send
    DOT = "dot"  # marked: the point of no return may have been passed
    UNKNOWN = "unknown"
    RELEASED = "released"  # free for the next claim of this key
    SENT = "sent"  # terminal
    DROPPED = "dropped"  # closed by a person without knowing


class Reason(StrEnum):
    """Why a job became a dead letter."""

    PERMANENT = "permanent"
    EXHAUSTED = "exhausted"
    WORKER_LOST = "worker_lost"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    DROPPED = "dropped"  # waited beside an unknown that a person dropped
    SUPPRESSED = "suppressed"  # all its recipients are on the suppression list


class SuppressionReason(StrEnum):
    """Why an address gets no more mail."""

    MANUAL = "manual"  # its owner, or an operator, put it there
    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"  # whoever reads its mail asked for it


class EventKind(StrEnum):
    """What an email service says of one mail, in anymail's words. Openings and clicks are not kept."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"  # the receiving server has it
    DEFERRED = "deferred"  # the service tries again
    BOUNCED = "bounced"
    REJECTED = "rejected"  # the service itself did not try
    FAILED = "failed"
    COMPLAINED = "complained"  # reported as spam
    UNSUBSCRIBED = "unsubscribed"


class Outcome(StrEnum):
    """How one attempt ended."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    LOST = "lost"  # its worker died before the mark
    SUPPRESSED = "suppressed"  # nobody was left to send to


class Resolution(StrEnum):
    """What became of a dead letter."""

    REQUEUED = "requeued"
    DISCARDED = "discarded"
    MARK_SENT = "mark_sent"
    SEND_AGAIN = "send_again"
    DROP = "drop"
    OVERRIDE = "override"  # requeued to be sent again although its key had been sent
    LATE_REPLY = "late_reply"  # the answer came after all
    EVIDENCE = "evidence"  # the provider was asked, and knew


class Decision(StrEnum):
    """What a person may decide about an unknown."""

    MARK_SENT = "mark_sent"
    SEND_AGAIN = "send_again"
    DROP = "drop"


class OnUnknown(StrEnum):
    """What to do when nobody can know whether a message went out."""

    HOLD = "hold"
    RESEND = "resend"
    ASSUME_SENT = "assume_sent"


class Missed(StrEnum):
    """What a schedule makes of the times at which no clock was running."""

    SKIP = "skip"  # nothing; only times to come
    ONCE = "once"  # one job for all of them
    ALL = "all"  # one for each, up to a bound


class Priority(StrEnum):
    """The three queues, served in this order."""

    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


class WorkerState(StrEnum):
    """What a worker process is doing."""

    AVAILABLE = "available"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class DestinationKind(StrEnum):
    """How a destination is reached."""

    WEBHOOK = "webhook"
    NOTIFICATION = "notification"
