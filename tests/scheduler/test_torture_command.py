"""The command's own words: what it refuses, and how it says so."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from scheduler.management.commands.torture import Command
from tests.scheduler.made_up_run import good_run


@pytest.mark.parametrize(
    ("arguments", "trouble"),
    [
        (["--faults", "kill-wrker"], "'kill-wrker' is no fault; there are: all, none, refuse"),
        (["--seeds", "1-x"], "'1-x': write 1-20, or 3,5,8"),
        (["--seeds", "5-3"], "'5-3' names no seed"),
        (["--jobs", "none"], "'none' is not a number from 1 to"),
        (["--workers", "0"], "'0' is not a number from 1 to 64"),
        (["--minutes", "0"], "'0' is no length in minutes"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(arguments, trouble):
    with pytest.raises(CommandError, match=trouble):
        call_command("torture", *arguments)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [3]), ("1-4", [1, 2, 3, 4]), ("3,5,8", [3, 5, 8]), ("1-2,2-3", [1, 2, 3])]
)
def test_seeds_are_read_as_they_are_written(text, seeds):
    parser = Command().create_parser("manage.py", "torture")

    assert parser.parse_args(["--seeds", text]).seeds == seeds


def test_help_names_every_fault():
    said = Command().create_parser("manage.py", "torture").format_help()

    assert "kill-worker" in said
    assert "SIGSTOP beyond its lease" in said
    assert "Exit status 0" in said


def test_evidence_that_cannot_be_read_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        call_command("torture", "--judge", str(tmp_path / "nothing.json"))

    assert end.value.code == 1
    assert "no evidence of a run can be read there" in capsys.readouterr().out


@pytest.mark.parametrize("tampered", [False, True])
def test_kept_evidence_is_judged_anew(tmp_path, capsys, tampered):
    run = good_run()
    if tampered:
        run.evidence.mails.pop(0)
    run.evidence.save(tmp_path / "evidence.json")

    with pytest.raises(SystemExit) as end:
        call_command("torture", "--judge", str(tmp_path / "evidence.json"))

    said = capsys.readouterr().out
    assert end.value.code == tampered
    assert ("LOST sent: it is completed, and the server has no copy" in said) == tampered
    assert ("PASSED" in said) != tampered
