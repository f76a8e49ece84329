"""All settings, by section. The environment is read here and nowhere else; our own tunables are in tunables.py.

Defaults are good enough to start on a laptop; outside DEBUG a missing secret refuses to start.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from scheduler.env import Environment
from scheduler.logs import configure_logging
from scheduler.tunables import tunables

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

SECRET_KEY_FALLBACKS = env.names(
    "SECRET_KEY_FALLBACKS",
    [],
    help="Earlier SECRET_KEYs: what they have signed, such as the links to unsubscribe in mails that were sent, stays good.",
)

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
    # "scheduler.tracing.RequestSpans", where tracing is on: see below
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

# ── Sendonce's own, seen through jobs/conf.py ─────────────────────────────────────────────────

SENDONCE: dict[str, Any] = tunables(env, debug=DEBUG, secret_key=SECRET_KEY)

# ── Tracing ───────────────────────────────────────────────────────────────────────────────────

_IS_TRACED = bool(SENDONCE["otlp_endpoint"])
if _IS_TRACED:
    MIDDLEWARE.insert(0, "scheduler.tracing.RequestSpans")

# ── What email services tell ──────────────────────────────────────────────────────────────────

# What anymail reads when services tell of mails; what it sends with is said by EMAIL_PROVIDERS alone.
ANYMAIL: dict[str, Any] = {
    **{name.upper(): key for name, key in SENDONCE["event_keys"].items()},
    "WEBHOOK_SECRET": list(SENDONCE["event_secrets"]),
}

# ── Logs ──────────────────────────────────────────────────────────────────────────────────────

LOG_LEVEL = env.text("LOG_LEVEL", "INFO", help="DEBUG, INFO, WARNING or ERROR.")
LOG_FORMAT = env.text("LOG_FORMAT", "auto", help="json, console, or auto: colours at a terminal, JSON elsewhere.")
LOGGING_CONFIG = None
configure_logging(LOG_LEVEL, LOG_FORMAT, is_traced=_IS_TRACED)
