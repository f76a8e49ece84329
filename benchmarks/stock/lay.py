"""Make the tables and a user with a password: `python -m benchmarks.stock.lay USERNAME PASSWORD`."""

from __future__ import annotations

import os
import sys

import django
from django.core.management import call_command


def main(username: str, password: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.stock.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth import get_user_model
    from django.db import connection

    from benchmarks.stock.models import Message

    with connection.schema_editor() as editor:
        editor.create_model(Message)
    get_user_model().objects.create_user(username, password=password)


if __name__ == "__main__":
    main(*sys.argv[1:3])
