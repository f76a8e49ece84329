"""docs/settings.md and .env.example are what settings.py really reads."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from scheduler.env import Environment, Reading
from scheduler.management.commands.list_settings import as_example, as_page
from scheduler.settings import env


def test_the_files_in_the_repository_are_fresh() -> None:
    call_command("list_settings", check=True)


def test_stale_files_are_named_and_left_alone(tmp_path: Path) -> None:
    call_command("list_settings", root=tmp_path, stdout=StringIO())
    (tmp_path / ".env.example").write_text("#OLD=1\n")

    with pytest.raises(CommandError, match=r"Stale: \.env\.example\.") as refusal:
        call_command("list_settings", check=True, root=tmp_path)

    assert refusal.value.returncode == 1
    assert (tmp_path / ".env.example").read_text() == "#OLD=1\n"


def test_missing_files_are_stale_and_then_written_once(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Stale"):
        call_command("list_settings", check=True, root=tmp_path)

    first, second = StringIO(), StringIO()
    call_command("list_settings", root=tmp_path, stdout=first)
    call_command("list_settings", root=tmp_path, stdout=second)

    assert first.getvalue().split() == ["wrote", "docs/settings.md", "wrote", ".env.example"]
    assert second.getvalue() == ""
    call_command("list_settings", check=True, root=tmp_path)


def test_every_reading_stands_in_both_once_and_says_what_it_means() -> None:
    page, example = as_page(env.readings), as_example(env.readings)

    assert len(env.readings) > 30
    for reading in env.readings:
        assert reading.help.strip(), reading.name
        assert page.count(f"\n| `{reading.name}` |") == 1
        assert example.count(f"\n#{reading.name}=") == 1


def test_a_copied_example_changes_nothing() -> None:
    assert [line for line in as_example(env.readings).splitlines() if line and not line.startswith("#")] == []


def test_opened_lines_are_read_back_as_the_defaults() -> None:
    lines = [line[1:] for line in as_example(env.readings).splitlines() if line[:1] == "#" and line[1:2].isupper()]
    opened = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    source = Environment(opened)

    assert list(opened) == [reading.name for reading in env.readings]
    for reading in env.readings:
        if reading.kind in ("int", "float"):
            assert source.number(reading.name, -1.0, help=reading.help) == float(reading.default)
        else:
            assert opened[reading.name] == reading.default


def test_what_a_table_or_a_shell_would_misread_is_quoted() -> None:
    reading = Reading("SENDER", "str", "Ann <ann@example.org>", "One | two.")

    assert as_example([reading]).endswith("\n# One | two.\n#SENDER='Ann <ann@example.org>'\n")
    assert as_page([reading]).endswith("| `SENDER` | text | `Ann <ann@example.org>` | One \\| two. |\n")
