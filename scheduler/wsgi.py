"""The API's WSGI application. Settings that make no sense refuse to start it, as they do every command."""

import os

from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
application = get_wsgi_application()

if errors := [str(message) for message in run_checks(tags=[Tags.security]) if message.is_serious()]:
    raise ImproperlyConfigured("\n".join(errors))
