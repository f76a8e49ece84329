"""Metric names and what they mean, in one list. Labels are few and bounded."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from jobs.states import EventKind, SuppressionReason

JOBS_PROCESSED = Counter(
    "jobs_processed_total", "Jobs that a worker settled, by the status they reached.", ["status", "type"]
)
JOB_DURATION = Histogram(
    "job_processing_duration_seconds",
    "From claim to settlement, seconds.",
    ["type"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600),
)
JOB_FAILURES = Counter("job_failures_total", "Attempts that did not send, by what stopped them.", ["reason"])
JOBS_RETRIED = Counter("job_retries_total", "Attempts that will be repeated, by what stopped them.", ["reason"])
JOB_RETRIES = Histogram(
    "job_retry_attempts", "Attempts that a job took until it was settled for good.", buckets=(1, 2, 3, 4, 5, 10, 20)
)
DUPLICATES = Counter("duplicates_suppressed_total", "Jobs completed without sending, by the tier that knew.", ["tier"])
SUPPRESSED = Counter(
    "suppressed_total", "Recipients left out because they are on the suppression list, by why they are.", ["reason"]
)
SEND_UNKNOWN = Counter("send_unknown_total", "Deliveries whose outcome nobody can know.")
LEASE_TIMEOUTS = Counter("lease_timeouts_total", "Jobs taken back from workers that fell silent.")
SCHEDULE_RUNS = Counter("schedule_runs_total", "Jobs that schedules have made.")
SCHEDULE_MISSED = Counter(
    "schedule_runs_missed_total",
    "Times of schedules that passed while no clock was running, and made no job of their own.",
)
CIRCUIT_OPEN = Gauge(
    "provider_circuit_open",
    "1 while an email provider is left alone because it does not work.",
    ["provider"],
    multiprocess_mode="livemax",
)
CIRCUITS_OPENED = Counter(
    "circuits_opened_total", "Times that a provider, a host or a service began to be left alone.", ["channel"]
)
FAILOVERS = Counter(
    "failovers_total", "Messages that one provider provably did not take and another was offered.", ["provider", "to"]
)
JOBS_POSTPONED = Counter(
    "jobs_postponed_total",
    "Jobs that waited without spending an attempt: circuit_open, provider_rate, domain_rate, owner_rate.",
    ["reason"],
)
for channel in ("email", "webhook", "notification"):
    CIRCUITS_OPENED.labels(channel=channel)
for reason in ("circuit_open", "provider_rate", "domain_rate", "owner_rate"):
    JOBS_POSTPONED.labels(reason=reason)
INQUIRIES = Counter(
    "provider_inquiries_total",
    "Questions to providers about unknowns, by source and answer: accepted, not_accepted, cannot_say, no_answer.",
    ["source", "answer"],
)

EMAIL_EVENTS = Counter(
    "email_events_total",
    "What email services have told of mails, by kind; `unmatched`: of none of our jobs.",
    ["kind"],
)

for tier in ("l1", "l2"):
    DUPLICATES.labels(tier=tier)  # told as 0 before the first one
for kind in (*EventKind, "unmatched"):
    EMAIL_EVENTS.labels(kind=kind)
for reason in SuppressionReason:
    SUPPRESSED.labels(reason=reason.value)
