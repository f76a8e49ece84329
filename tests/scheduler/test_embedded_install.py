"""The bootstrap says what is missing and how to get it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scheduler.embedded import install

FIND_PYTHON = Path(install.__file__).with_name("find_python.sh")


def find_python(tmp_path, versions, wanted=""):
    """Run the search where the only Pythons are these: name → version."""
    for name, version in versions.items():
        fake = tmp_path / name
        new_enough = tuple(map(int, version.split("."))) >= (3, 11)
        fake.write_text(f'#!/bin/sh\ncase "$2" in *exit*) exit {0 if new_enough else 1};; esac\nprintf {version}\n')
        fake.chmod(0o755)
    env = {"PATH": str(tmp_path)}
    return subprocess.run(["/bin/sh", FIND_PYTHON, wanted], env=env, capture_output=True, text=True, check=False)


def test_the_first_python_that_is_new_enough_is_taken(tmp_path):
    found = find_python(tmp_path, {"python3": "3.9", "python3.12": "3.12", "python3.11": "3.11"})

    assert found.stdout.strip() == str(tmp_path / "python3.12")


def test_too_old_a_python_is_refused_in_one_line_with_the_remedy(tmp_path):
    found = find_python(tmp_path, {"python3": "3.9"})

    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "3.11 or newer" in found.stderr
    assert "python3: 3.9" in found.stderr
    assert "PYTHON=" in found.stderr


def test_a_named_python_is_the_only_one_looked_at(tmp_path):
    found = find_python(tmp_path, {"python3": "3.12", "old": "3.8"}, wanted="old")

    assert found.returncode == 1
    assert "old: 3.8" in found.stderr


def test_an_included_file_that_changes_asks_for_a_new_installation(tmp_path):
    (tmp_path / "outer.txt").write_text("-r inner.txt\nrich==1\n")
    (tmp_path / "inner.txt").write_text("Django==1\n")
    before = install._fingerprint(tmp_path / "outer.txt")

    (tmp_path / "inner.txt").write_text("Django==2\n")

    assert install._fingerprint(tmp_path / "outer.txt") != before


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("error: [Errno 13] Permission denied: '.venv/lib'", "cannot be written"),
        ("NameResolutionError: Temporary failure in name resolution", "cannot be reached"),
        ("ERROR: No matching distribution found for Django==5.2", "check the network"),
        ("something else entirely", "install.log"),
    ],
)
def test_a_failed_installation_names_the_remedy(said, remedy):
    assert remedy in install._remedy(said)


def test_a_python_without_ensurepip_is_told_which_package_to_install(monkeypatch):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(install.CannotInstall, match=r"apt install python3\.\d+-venv"):
        install._check_ground()


def test_the_stamp_of_the_tests_counts_for_make_run_too(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "ROOT", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "dev.txt").write_text("-r local.txt\n")
    (tmp_path / "local.txt").write_text("rich==1\n")
    wanted = install._fingerprint(tmp_path / "local.txt")
    assert not install._is_installed("local.txt", wanted, tmp_path)

    install._remember("dev.txt", install._fingerprint(tmp_path / "dev.txt"), tmp_path)

    assert install._is_installed("local.txt", wanted, tmp_path)
