"""All settings, by section. The environment is read here and nowhere else.

Defaults are good enough to start on a laptop; outside DEBUG a missing secret refuses to start.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from scheduler.env import Environment
from scheduler.logs import configure_logging

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

# ── Ground ────────────────────────────────────────────────────────────────────────────────────

# Whoever looks up a host's name waits 5 s, twice, for each name server that is silent, and cannot be told to give up;
# a thread that hangs so long passes for dead. glibc reads this (resolv.conf(5)); what the operator set stands.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")

DEBUG = env.flag("DEBUG", False, help="Development mode: the local inbox page, default secrets. Never in production.")
SECRET_KEY = env.text("SECRET_KEY", "", help="Django's secret: 50 random characters. Required outside DEBUG.")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is missing. Set it to 50 random characters: "
            'python -c "import secrets; print(secrets.token_urlsafe(50))"'
        )
    SECRET_KEY = "only-for-development-never-in-production-0000000000"

ALLOWED_HOSTS = env.names(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], help="Host names that the API answers to."
)
CSRF_TRUSTED_ORIGINS = env.names(
    "CSRF_TRUSTED_ORIGINS", [], help="Origins (https://…) that may post to the admin behind a proxy."
)
WEB_CONCURRENCY = env.integer("WEB_CONCURRENCY", 1, help="Processes of the API (2 in the image).")
WEB_THREADS = env.integer("WEB_THREADS", 8, help="Threads of each, with a connection to PostgreSQL each.")
ROOT_URLCONF = "scheduler.urls"
WSGI_APPLICATION = "scheduler.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False

# A worker shows no pages, and holds 11 MB less without those who do. (The clock prunes tables of theirs.)
_SHOWS_PAGES = "run_worker" not in sys.argv[1:2]
_FOR_PAGES = [
    *("unfold", "unfold.contrib.filters"),
    *("django.contrib.admin", "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles"),
    *("rest_framework", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"),
    *("drf_spectacular", "drf_spectacular_sidecar", "django_prometheus"),
]
INSTALLED_APPS = [
    *(_FOR_PAGES if _SHOWS_PAGES else []),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    *env.packages("JOB_APPS", [], help="Django apps, by their dotted names, that bring job types of their own."),
    "jobs",
    "workers",
    "scheduler",
]

MIDDLEWARE = [
    "scheduler.request_metrics.RequestMetrics",
    "scheduler.middleware.CorrelationMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "scheduler.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "scheduler.middleware.Authentication",
    "scheduler.middleware.Messages",
    "scheduler.middleware.XFrameOptions",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# ── PostgreSQL: the only truth ────────────────────────────────────────────────────────────────

DATABASES = {
    "default": env.database(
        "DATABASE_URL",
        "postgres://postgres@127.0.0.1:5432/sendonce",
        help="PostgreSQL, the only truth: postgres://user:pass@host:5432/name",
    )
    | {
        "ENGINE": "jobs.postgres",  # Django's own, for a server that may hang or vanish
        "CONN_MAX_AGE": None,  # threads keep their connection …
        "CONN_HEALTH_CHECKS": True,  # … and look at it before each request
        "ATOMIC_REQUESTS": False,  # no transaction is open while we talk to anyone outside (I3)
    }
}
MIGRATION_MODULES = {"jobs": "migrations"}

# ── Static files ──────────────────────────────────────────────────────────────────────────────

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG

# ── HTTP API ──────────────────────────────────────────────────────────────────────────────────

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jobs.api.bearer.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["jobs.api.parsers.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["jobs.api.renderers.JsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "jobs.api.problems.answer",
    "UNAUTHENTICATED_USER": None,
}

JWT_PRIVATE_KEY = env.text("JWT_PRIVATE_KEY", "", help="PEM private key; with it tokens are signed RS256 or EdDSA.")
JWT_PUBLIC_KEY = env.text("JWT_PUBLIC_KEY", "", help="PEM public key that belongs to JWT_PRIVATE_KEY.")
JWT_ALGORITHM = env.text("JWT_ALGORITHM", "", help="HS256, RS256 or EdDSA; by default from the keys given.")
JWT_SIGNING_KEY = env.text(
    "JWT_SIGNING_KEY", "", help="Secret of ≥ 32 characters for HS256 tokens. Required outside DEBUG, or a key pair."
)
if not JWT_SIGNING_KEY and not JWT_PRIVATE_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "JWT_SIGNING_KEY is missing. Set it to at least 32 random characters, "
            "or set JWT_PRIVATE_KEY and JWT_PUBLIC_KEY."
        )
    JWT_SIGNING_KEY = SECRET_KEY
if JWT_PRIVATE_KEY and not JWT_PUBLIC_KEY:
    raise ImproperlyConfigured("JWT_PUBLIC_KEY is missing; it belongs to JWT_PRIVATE_KEY.")

SIMPLE_JWT: dict[str, Any] = {
    "ACCESS_TOKEN_LIFETIME": timedelta(
        minutes=env.integer("ACCESS_TOKEN_MINUTES", 15, help="How long an access token is valid, in minutes.")
    ),
    "REFRESH_TOKEN_LIFETIME": timedelta(
        hours=env.integer("REFRESH_TOKEN_HOURS", 24, help="How long a refresh token is valid, in hours.")
    ),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "ALGORITHM": JWT_ALGORITHM or ("RS256" if JWT_PRIVATE_KEY else "HS256"),
    "SIGNING_KEY": JWT_PRIVATE_KEY or JWT_SIGNING_KEY,
    "VERIFYING_KEY": JWT_PUBLIC_KEY or None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Sendonce",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Email and notifications: never sent twice by the machine, never lost.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["jobs.api.components.complete"],
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True, "displayRequestDuration": True},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DATA_UPLOAD_MAX_MEMORY_SIZE = None  # bodies are limited by jobs.api.parsers, with a problem+json answer

# ── Admin ─────────────────────────────────────────────────────────────────────────────────────

UNFOLD = {
    "SITE_TITLE": "Sendonce",
    "SITE_HEADER": "Sendonce",
    "SITE_SUBHEADER": "Dead letters and unknowns",
    "SITE_URL": "/docs",
    "SHOW_BACK_BUTTON": True,
}

# ── Email ─────────────────────────────────────────────────────────────────────────────────────

DEFAULT_FROM_EMAIL = env.text(
    "DEFAULT_FROM_EMAIL", "Sendonce <no-reply@sendonce.example>", help="Sender of mails that name none."
)

# ── Sendonce's own tunables, seen through jobs/conf.py ────────────────────────────────────────

_inbox_dir = env.text("INBOX_DIR", "", help="Folder of the local inbox, shown at /inbox. Only in DEBUG.")

SENDONCE: dict[str, Any] = {
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
        "worker process opens at once (64).",
    ),
    "evidence_sources": env.pairs(
        "EVIDENCE_SOURCES",
        [],
        example="main=mailgun+https://api:KEY@api.mailgun.net/v3/mg.example.org",
        help="alias=URL list: where a provider of EMAIL_PROVIDERS can be asked whether it has a message (docs/unknowns.md). "
        "mailgun+https://api:KEY@api.mailgun.net/v3/DOMAIN, inbox+smtp://host:port (the local inbox).",
    ),
    "on_unknown": env.pairs(
        "ON_UNKNOWN",
        [],
        example="welcome_email=resend",
        help="type=policy list for jobs that name none: hold (a person decides), resend or assume_sent. Not listed: hold.",
    ),
    "allowed_senders": tuple(
        env.names("ALLOWED_SENDERS", [], help="What `from` may name beside DEFAULT_FROM_EMAIL: addresses and @domains.")
    ),
    "signup_open": env.flag("SIGNUP_OPEN", False, help="Whether anyone may POST /signup."),
    "demo_services": tuple(
        env.names("DEMO_SERVICES", [], help="URLs of the two services that the demo's types of job ask; by make run.")
    ),
    "inbox_dir": Path(_inbox_dir) if _inbox_dir and DEBUG else None,
    "journal_dir": Path(
        env.text(
            "JOURNAL_DIR",
            help="Folder, of the workers' user only, where answers of SMTP servers outlive a killed worker until PostgreSQL "
            "has them. Default: sendonce-UID among the temporary files.",
        )
        or f"{gettempdir()}/sendonce-{os.getuid()}"
    ),
    "max_attempts": env.integer("MAX_ATTEMPTS", 5, help="Attempts per job unless it says otherwise."),
    "retry_base_seconds": env.number("RETRY_BASE_SECONDS", 1.0, help="Wait after the first failed attempt, seconds."),
    "retry_cap_seconds": env.number("RETRY_CAP_SECONDS", 21600.0, help="Longest wait between attempts, seconds."),
    "retry_jitter": env.number("RETRY_JITTER", 0.2, help="Spread of each wait: 0.2 is ±20 %."),
    "lease_seconds": env.number("LEASE_SECONDS", 30.0, help="Silence after which a worker counts as dead, seconds."),
    "heartbeat_seconds": env.number("HEARTBEAT_SECONDS", 5.0, help="Time between a worker's heartbeats, seconds."),
    "poison_deaths": env.integer("POISON_DEATHS", 3, help="Workers a job may take down before it is set aside."),
    "worker_concurrency": env.integer(
        "WORKER_CONCURRENCY", 256, help="Deliveries under way at once per worker process."
    ),
    "worker_hands": env.integer(
        "WORKER_HANDS", 8, help="Processes per worker process in which handlers of job types run, one job each."
    ),
    "drain_seconds": env.number("DRAIN_SECONDS", 20.0, help="Time to finish after SIGTERM, seconds."),
    "put_back_seconds": env.number("PUT_BACK_SECONDS", 1.0, help="Wait of a job whose key another job holds, seconds."),
    "connect_timeout_seconds": env.number("CONNECT_TIMEOUT_SECONDS", 10.0, help="SMTP connect time-out, seconds."),
    "command_timeout_seconds": env.number("COMMAND_TIMEOUT_SECONDS", 60.0, help="SMTP reply time-out, seconds."),
    "dot_timeout_seconds": env.number(
        "DOT_TIMEOUT_SECONDS", 600.0, help="Wait for the reply after the final dot, seconds (RFC 5321 §4.5.3.2.6)."
    ),
    "gate_ttl_seconds": env.integer("GATE_TTL_SECONDS", 86400, help="How long Redis remembers a key, seconds."),
    "idempotency_hours": env.integer("IDEMPOTENCY_HOURS", 24, help="How long an Idempotency-Key is kept, hours."),
    "keep_completed_days": env.integer("KEEP_COMPLETED_DAYS", 30, help="Completed jobs are kept this long, days."),
    "keep_bodies_days": env.integer("KEEP_BODIES_DAYS", 7, help="Their payloads are kept this long, days."),
    "keep_decided_days": env.integer("KEEP_DECIDED_DAYS", 180, help="Decided dead letters are kept this long, days."),
    "max_body_bytes": env.integer("MAX_BODY_BYTES", 512 * 1024, help="Largest request body, bytes."),
    "max_attachment_body_bytes": env.integer(
        "MAX_ATTACHMENT_BODY_BYTES", 10 * 1024 * 1024, help="Largest request body with attachments, bytes."
    ),
    "max_recipients": env.integer("MAX_RECIPIENTS", 50, help="Recipients per message: to, cc and bcc together."),
}

# ── Logs ──────────────────────────────────────────────────────────────────────────────────────

LOG_LEVEL = env.text("LOG_LEVEL", "INFO", help="DEBUG, INFO, WARNING or ERROR.")
LOG_FORMAT = env.text("LOG_FORMAT", "auto", help="json, console, or auto: colours at a terminal, JSON elsewhere.")
LOGGING_CONFIG = None
configure_logging(LOG_LEVEL, LOG_FORMAT)
