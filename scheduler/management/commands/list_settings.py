"""`manage.py list_settings`: writes docs/settings.md and .env.example from what settings.py reads."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from scheduler.env import Reading
from scheduler.settings import env

KINDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "list": "list, separated by commas",
}

PAGE = """\
# Settings

Every variable that Sendonce reads from the environment. `python manage.py list_settings` writes this page and
`.env.example` from the code; change them there.

For each `NAME` there is also `NAME_FILE`, which names a file that holds the value, for secrets that are mounted as
files. Where both are set, `NAME` counts. A value that cannot be read stops the start with a line that says why.

| variable | kind | default | meaning |
| --- | --- | --- | --- |
"""

EXAMPLE = """\
# Every variable that Sendonce reads, with its default; a copy of this file changes nothing until a line is opened.
# For each NAME there is also NAME_FILE: a file that holds the value.
# Docker Compose reads `.env`; single quotes keep a `$` as it is. Written by `python manage.py list_settings`.
"""


class Command(BaseCommand):
    help = "Write docs/settings.md and .env.example from what settings.py reads."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
        parser.add_argument("--root", type=Path, default=settings.BASE_DIR, help="the repository's folder")

    def handle(self, *args: Any, check: bool, root: Path, **options: Any) -> None:
        texts = {root / "docs" / "settings.md": as_page(env.readings), root / ".env.example": as_example(env.readings)}
        stale = {path: text for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text}
        if check and stale:
            names = " and ".join(str(path.relative_to(root)) for path in stale)
            raise CommandError(f"Stale: {names}. Run: python manage.py list_settings", returncode=1)
        for path, text in stale.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            self.stdout.write(f"wrote {path.relative_to(root)}")


def as_page(readings: Sequence[Reading]) -> str:
    """A Markdown page with one table row for each variable."""
    return PAGE + "".join(_row(reading) for reading in readings)


def as_example(readings: Sequence[Reading]) -> str:
    """A .env file in which every line is closed by a `#`."""
    return EXAMPLE + "".join(
        f"\n# {reading.help}\n#{reading.name}={_quoted(reading.default)}\n" for reading in readings
    )


def _row(reading: Reading) -> str:
    default = f"`{reading.default}`" if reading.default else "–"
    cells = (f"`{reading.name}`", KINDS[reading.kind], default, reading.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _quoted(value: str) -> str:
    """For `.env` and for a shell that sources it alike."""
    return f"'{value}'" if set(value) & set(" <>$#&;|") else value
