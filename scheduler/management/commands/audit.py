"""`manage.py audit`: proves that the books balance, or names what does not."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from jobs.audit import Books, Finding, read_books


class Command(BaseCommand):
    help = "Proves that the books balance: every accepted job stands somewhere, nothing was sent twice. Exit 1 if not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            books = read_books()
        except OperationalError as error:
            raise CommandError(f"PostgreSQL does not answer: {' '.join(str(error).split())}") from error
        self.stdout.write(_as_json(books) if options["json"] else _as_table(books))
        if not books.is_balanced:
            raise CommandError("The books do not balance.", returncode=1)


def _as_json(books: Books) -> str:
    return json.dumps(
        {
            "balanced": books.is_balanced,
            "accepted": books.accepted,
            "counts": books.counts,
            "findings": [asdict(finding) for finding in books.findings],
        }
    )


def _as_table(books: Books) -> str:
    width = max(len(finding.name) for finding in books.findings)
    counts = [f"{status:<{width}}  {count:>10}" for status, count in books.counts.items()]
    total = f"{'accepted':<{width}}  {books.accepted:>10}"
    checks = [f"{finding.name:<{width}}  {_verdict(finding)}" for finding in books.findings]
    return "\n".join([*counts, total, "", *checks])


def _verdict(finding: Finding) -> str:
    return "        ok" if finding.is_ok else f"{finding.count:>10}  such as {', '.join(finding.examples)}"
