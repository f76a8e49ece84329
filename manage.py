#!/usr/bin/env python
"""Django's command line; `python manage.py help` lists the commands."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
    if sys.argv[1:2] == ["run_local"]:
        os.environ.setdefault("DEBUG", "true")  # it makes the secrets of its children itself
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))  # it names the setting and the remedy; a traceback would bury both
