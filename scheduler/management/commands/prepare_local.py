"""Migrates and creates the demo user. `run_local` calls it in a child; not meant for people."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command

from scheduler.embedded.local_ground import DEMO_USERNAME


class Command(BaseCommand):
    help = "Migrate, and create the local demo user (a superuser). Called by run_local."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--password-file", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("A demo superuser is made in DEBUG only.")
        call_command("migrate", interactive=False, verbosity=1, stdout=self.stdout)
        create_demo_user(options["password_file"].read_text())


def create_demo_user(password: str) -> None:
    """The user `demo` with this password; an unchanged one is left alone, for hashing takes its time."""
    user, created = get_user_model().objects.get_or_create(
        username=DEMO_USERNAME, defaults={"is_staff": True, "is_superuser": True, "email": "demo@example.org"}
    )
    if created or not user.check_password(password):
        user.set_password(password)
        user.save()
