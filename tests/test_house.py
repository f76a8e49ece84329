"""The house as a whole: floors, sizes, and documents that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("jobs", "workers", "scheduler")
LONGEST_FILE = 300
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.slow
def test_imports_go_down_the_floors() -> None:
    lint = Path(sys.executable).with_name("lint-imports")

    verdict = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert verdict.returncode == 0, verdict.stdout


def test_no_file_hides_a_second_noun() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]

    long = {str(path.relative_to(ROOT)): lines for path in files if (lines := _lines(path)) > LONGEST_FILE}

    assert files
    assert not long


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())

    assert not [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_documents_name_exist(document: Path) -> None:
    named = re.findall(r"`((?:jobs|workers|scheduler|tests|deploy|docs)/[\w./-]+)`", document.read_text())

    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_dependency_is_pinned() -> None:
    lines = [
        line.split("#")[0].strip()
        for name in ("requirements.txt", "requirements-tracing.txt", "requirements-local.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    wanted = [line for line in lines if line and not line.startswith("-r ")]

    assert wanted
    assert not [line for line in wanted if not re.fullmatch(r"[\w.\[\]-]+==[\w.]+", line)]
