"""The two pictures of docs/state-machine.md, arrow by arrow and by who draws them. What is not here never happens."""

from __future__ import annotations

Arrow = tuple[str | None, str]  # from, to; from None: the row is new

LATE_REPLIES: set[Arrow] = {
    ("unknown", "completed"),
    ("unknown", "scheduled"),
    ("unknown", "failed"),
    ("queued", "completed"),  # this and the next after send_again
    ("scheduled", "completed"),
    ("failed", "completed"),  # after drop
}
JOBS: dict[str, set[Arrow]] = {
    "accept": {(None, "queued"), (None, "scheduled")},
    "promote": {("scheduled", "queued")},
    "claim": {("queued", "running"), ("queued", "expired")},
    "gate": {("running", "completed"), ("running", "unknown"), ("running", "scheduled")},
    "leave out": {("running", "failed"), ("running", "unknown"), ("running", "scheduled")},
    "record": LATE_REPLIES
    | {("running", "completed"), ("running", "scheduled"), ("running", "failed"), ("running", "unknown")},
    "evidence": LATE_REPLIES,
    "rescue": {("running", "queued"), ("running", "unknown"), ("running", "failed")},
    "sweep": {("running", "queued"), ("running", "unknown")},
    "decide": {("unknown", "completed"), ("unknown", "queued"), ("unknown", "failed"), ("failed", "queued")},
    "wake": {("unknown", "queued"), ("unknown", "failed")},
    "cancel": {("scheduled", "cancelled"), ("queued", "cancelled"), ("unknown", "cancelled")},
}

LATE_SETTLEMENTS: set[Arrow] = {
    ("unknown", "sent"),
    ("unknown", "released"),
    ("released", "sent"),
    ("dropped", "sent"),
}
DELIVERIES: dict[str, set[Arrow]] = {
    "gate": {(None, "claimed"), ("released", "claimed")},
    "leave out": {(None, "claimed"), ("released", "claimed"), ("released", "unknown")},
    "record": LATE_SETTLEMENTS
    | {("claimed", "dot"), ("claimed", "released"), ("claimed", "unknown")}
    | {("dot", "sent"), ("dot", "released"), ("dot", "unknown")},
    "evidence": LATE_SETTLEMENTS,
    "take the mark back": {("dot", "claimed")},
    "rescue": {("claimed", "released"), ("claimed", "unknown"), ("dot", "unknown")},
    "sweep": {("claimed", "released"), ("dot", "unknown")},
    "decide": {("unknown", "sent"), ("unknown", "released"), ("unknown", "dropped")},
}
