"""Our own tunables, frozen. Values and units are set in scheduler/tunables.py (`settings.SENDONCE`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from django.conf import settings

from jobs.rates import Rate
from jobs.states import OnUnknown


@dataclass(frozen=True, kw_only=True)
class Tunables:
    """What `settings.SENDONCE` holds; times in seconds, sizes in bytes."""

    redis_url: str
    email_providers: dict[str, str]  # alias → URL, the first is the default
    type_providers: dict[str, str]  # type of email → alias of its provider, for jobs that name none
    evidence_sources: dict[str, str]  # alias → URL where that provider can be asked what it has
    event_secrets: tuple[str, ...]  # name:secret, of whoever may tell of mails; none: nobody
    event_keys: dict[str, str]  # anymail's settings for services that sign what they tell
    on_unknown: dict[str, str]  # type of job → policy, where it is not `hold`
    allowed_senders: tuple[str, ...]  # addresses or @domains that `from` may name
    sealing_keys: tuple[str, ...]  # secrets; the first encrypts, all decrypt
    reachable_networks: tuple[IPv4Network | IPv6Network, ...]  # beside the public ones
    public_url: str  # https://…, under which readers of mails reach the API; empty: not at all
    signup_open: bool
    demo_services: tuple[str, ...]  # URLs of the two that the demo's types ask
    otlp_endpoint: str  # the collector's URL; empty: no tracing
    service_name: str  # as traces call it; empty: sendonce- and the process's role
    inbox_dir: Path | None  # where the local inbox keeps what it received
    journal_dir: Path  # where workers keep answers until PostgreSQL has them
    domain_rates: dict[str, tuple[Rate, ...]]  # recipients' domain, or * → how much it is sent
    owner_rates: dict[str, tuple[Rate, ...]]  # user name, or * → how much of theirs is sent
    queue_limit: int  # jobs that may wait before no more are accepted; 0: any number
    max_attempts: int
    retry_base_seconds: float
    retry_cap_seconds: float
    retry_jitter: float  # 0.2 spreads each wait by ±20 %
    lease_seconds: float
    heartbeat_seconds: float
    poison_deaths: int
    worker_concurrency: int
    worker_hands: int  # processes of each worker in which handlers run, one job each
    drain_seconds: float
    put_back_seconds: float
    connect_timeout_seconds: float
    command_timeout_seconds: float
    dot_timeout_seconds: float
    http_timeout_seconds: float
    circuit_open_seconds: float  # before somebody tries; also the time after which somebody else may
    gate_ttl_seconds: int
    idempotency_hours: int
    keep_completed_days: int
    keep_bodies_days: int
    keep_decided_days: int
    max_body_bytes: int
    max_attachment_body_bytes: int
    max_recipients: int

    @property
    def patience_seconds(self) -> float:
        """Since a dot mark: then nobody can still be waiting for a reply to that dot, not even a worker that was
        declared dead."""
        return self.lease_seconds + self.dot_timeout_seconds

    def on_unknown_of(self, type: str) -> OnUnknown | None:
        """What this installation wants to become of an unknown of this type that does not say so itself."""
        return OnUnknown(self.on_unknown[type]) if type in self.on_unknown else None


@cache
def tunables() -> Tunables:
    """The tunables of this process."""
    values: dict[str, Any] = settings.SENDONCE
    unknown = set(values) - {field.name for field in fields(Tunables)}
    if unknown:
        raise TypeError(f"settings.SENDONCE has unknown names: {', '.join(sorted(unknown))}")
    return Tunables(**values)
