"""Sendonce's own settings, which jobs/conf.py hands out: values, units and defaults."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from scheduler.env import Environment


def tunables(env: Environment, *, debug: bool, secret_key: str) -> dict[str, Any]:
    """What `settings.SENDONCE` holds, as jobs.conf.Tunables takes it; times in seconds, sizes in bytes."""
    inbox_dir = env.text("INBOX_DIR", "", help="Folder of the local inbox, shown at /inbox. Only in DEBUG.")
    return {
        "redis_url": env.text(
            "REDIS_URL",
            "redis://127.0.0.1:6379/0",
            help="Redis or Valkey ≥ 7: doorbell and cache. redis://[user:pass@]host:port[/db], rediss:// (TLS), "
            "unix:///path, redis+sentinel://[user:pass@]host:port[,host:port…]/service[/db] "
            "(the sentinels' own password: ?sentinel_password=…), redis+cluster://[user:pass@]host:port[,host:port…]. "
            "User and password URL-encoded.",
        ),
        "email_providers": env.pairs(
            "EMAIL_PROVIDERS",
            ["local=smtp://127.0.0.1:1025"],
            example="main=smtp+tls://user:pass@host:587",
            help="alias=URL list; the first is the default. Schemes: smtp:// (STARTTLS when offered), "
            "smtp+tls:// (STARTTLS required), smtps:// (TLS from the first byte). "
            "User and password URL-encoded; ?ca=/path/ca.pem trusts a private authority, ?connections=20 is the most that one "
            "worker process opens at once (64), ?rate=14/s;50000/d is the most that all of them give it, ?then=backup is the "
            "provider that is tried when this one did not take a message. Several options: & between. Or an email service over HTTP: anymail+postmark://?server_token=TOKEN "
            "(docs/providers.md).",
        ),
        "type_providers": env.pairs(
            "TYPE_PROVIDERS",
            [],
            example="welcome_email=pm",
            help="type=alias list: the provider of emails of this type that name none. Looked at when they are sent. "
            "Not listed: the first of EMAIL_PROVIDERS.",
        ),
        "evidence_sources": env.pairs(
            "EVIDENCE_SOURCES",
            [],
            example="main=mailgun+https://api:KEY@api.mailgun.net/v3/mg.example.org",
            help="alias=URL list: where a provider of EMAIL_PROVIDERS can be asked whether it has a message (docs/unknowns.md). "
            "mailgun+https://api:KEY@api.mailgun.net/v3/DOMAIN, inbox+smtp://host:port (the local inbox).",
        ),
        "event_secrets": tuple(
            env.names(
                "EVENT_SECRETS",
                [],
                help="name:secret list. Email services may tell at https://name:secret@HOST/events/SERVICE what became of "
                "mails (docs/providers.md); any of these opens. Without one there is no such address.",
            )
        ),
        "event_keys": env.pairs(
            "EVENT_KEYS",
            [],
            example="MAILGUN_WEBHOOK_SIGNING_KEY=KEY",
            help="NAME=key list for services that sign what they tell, by the names of anymail's settings: "
            "MAILGUN_WEBHOOK_SIGNING_KEY=KEY.",
        ),
        "on_unknown": env.pairs(
            "ON_UNKNOWN",
            [],
            example="welcome_email=resend",
            help="type=policy list for jobs that name none: hold (a person decides), resend or assume_sent. Not listed: hold.",
        ),
        "allowed_senders": tuple(
            env.names(
                "ALLOWED_SENDERS", [], help="What `from` may name beside DEFAULT_FROM_EMAIL: addresses and @domains."
            )
        ),
        "sealing_keys": tuple(
            env.names(
                "SEALING_KEYS",
                [],
                help="Secrets that destinations' addresses are encrypted with: the first encrypts, all of them decrypt. "
                "Default: made of SECRET_KEY, which then cannot be changed without losing them.",
            )
        )
        or (secret_key,),
        "reachable_networks": env.networks(
            "REACHABLE_NETWORKS",
            [],
            help="Networks (10.1.0.0/16) that webhooks and notifications may reach although they are private, link-local or "
            "this machine's own. Others of that kind are refused.",
        ),
        "public_url": env.text(
            "PUBLIC_URL",
            "",
            help="https:// address under which readers of mails reach the API (https://mail.example.org). Mails that offer a link "
            "to unsubscribe need it, at the API and at the workers.",
        ),
        "signup_open": env.flag("SIGNUP_OPEN", False, help="Whether anyone may POST /signup."),
        "demo_services": tuple(
            env.names(
                "DEMO_SERVICES", [], help="URLs of the two services that the demo's types of job ask; by make run."
            )
        ),
        "otlp_endpoint": env.collector(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            packages="opentelemetry.sdk opentelemetry.exporter.otlp.proto.http",
            remedy="pip install -r requirements-tracing.txt, or take the variable off",
            help="URL of an OpenTelemetry collector (OTLP over HTTP), where traces go: http://collector:4318. Needs the packages of "
            "requirements-tracing.txt (docs/tracing.md). Empty: no tracing.",
        ),
        "service_name": env.text(
            "OTEL_SERVICE_NAME",
            help="Name of this process in traces. Default: sendonce-api, sendonce-worker or sendonce-clock, as the process is.",
        ),
        "inbox_dir": Path(inbox_dir) if inbox_dir and debug else None,
        "journal_dir": Path(
            env.text(
                "JOURNAL_DIR",
                help="Folder, of the workers' user only, where answers of SMTP servers outlive a killed worker until PostgreSQL "
                "has them. Default: sendonce-UID among the temporary files.",
            )
            or f"{gettempdir()}/sendonce-{os.getuid()}"
        ),
        "domain_rates": env.rates(
            "DOMAIN_RATES",
            help="domain=rate list: how many recipients of a domain are sent to. A rate is 20/s, 600/m, 5000/h, 50000/d, or several "
            "(20/s;5000/h). * stands for each domain that is not named. Default: no limit.",
        ),
        "owner_rates": env.rates(
            "OWNER_RATES",
            help="user=rate list: how many jobs of a user are carried out. * stands for each user who is not named. Default: no limit.",
        ),
        "queue_limit": env.integer(
            "QUEUE_LIMIT",
            1_000_000,
            help="Jobs that may wait for workers before the API accepts no more (429, ask again). 0: any number.",
        ),
        "max_attempts": env.integer("MAX_ATTEMPTS", 5, help="Attempts per job unless it says otherwise."),
        "retry_base_seconds": env.number(
            "RETRY_BASE_SECONDS", 1.0, help="Wait after the first failed attempt, seconds."
        ),
        "retry_cap_seconds": env.number("RETRY_CAP_SECONDS", 21600.0, help="Longest wait between attempts, seconds."),
        "retry_jitter": env.number("RETRY_JITTER", 0.2, help="Spread of each wait: 0.2 is ±20 %."),
        "lease_seconds": env.number(
            "LEASE_SECONDS", 30.0, help="Silence after which a worker counts as dead, seconds."
        ),
        "heartbeat_seconds": env.number("HEARTBEAT_SECONDS", 5.0, help="Time between a worker's heartbeats, seconds."),
        "poison_deaths": env.integer("POISON_DEATHS", 3, help="Workers a job may take down before it is set aside."),
        "worker_concurrency": env.integer(
            "WORKER_CONCURRENCY", 256, help="Deliveries under way at once per worker process."
        ),
        "worker_hands": env.integer(
            "WORKER_HANDS", 8, help="Processes per worker process in which handlers of job types run, one job each."
        ),
        "drain_seconds": env.number("DRAIN_SECONDS", 20.0, help="Time to finish after SIGTERM, seconds."),
        "put_back_seconds": env.number(
            "PUT_BACK_SECONDS", 1.0, help="Wait of a job whose key another job holds, seconds."
        ),
        "connect_timeout_seconds": env.number("CONNECT_TIMEOUT_SECONDS", 10.0, help="SMTP connect time-out, seconds."),
        "command_timeout_seconds": env.number("COMMAND_TIMEOUT_SECONDS", 60.0, help="SMTP reply time-out, seconds."),
        "dot_timeout_seconds": env.number(
            "DOT_TIMEOUT_SECONDS", 600.0, help="Wait for the reply after the final dot, seconds (RFC 5321 §4.5.3.2.6)."
        ),
        "http_timeout_seconds": env.number(
            "HTTP_TIMEOUT_SECONDS", 30.0, help="Time that a webhook's receiver has for its answer, seconds."
        ),
        "circuit_open_seconds": env.number(
            "CIRCUIT_OPEN_SECONDS",
            30.0,
            help="How long a provider or host that does not work is left alone before one job tries it, seconds.",
        ),
        "gate_ttl_seconds": env.integer("GATE_TTL_SECONDS", 86400, help="How long Redis remembers a key, seconds."),
        "idempotency_hours": env.integer("IDEMPOTENCY_HOURS", 24, help="How long an Idempotency-Key is kept, hours."),
        "keep_completed_days": env.integer("KEEP_COMPLETED_DAYS", 30, help="Completed jobs are kept this long, days."),
        "keep_bodies_days": env.integer("KEEP_BODIES_DAYS", 7, help="Their payloads are kept this long, days."),
        "keep_decided_days": env.integer(
            "KEEP_DECIDED_DAYS", 180, help="Decided dead letters are kept this long, days."
        ),
        "max_body_bytes": env.integer("MAX_BODY_BYTES", 512 * 1024, help="Largest request body, bytes."),
        "max_attachment_body_bytes": env.integer(
            "MAX_ATTACHMENT_BODY_BYTES", 10 * 1024 * 1024, help="Largest request body with attachments, bytes."
        ),
        "max_recipients": env.integer("MAX_RECIPIENTS", 50, help="Recipients per message: to, cc and bcc together."),
    }
