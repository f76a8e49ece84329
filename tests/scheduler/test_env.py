"""The environment: files for secrets, and refusals that name the variable and the remedy but never the secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from scheduler.env import Environment

ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct-horse-battery"


# ── NAME_FILE ─────────────────────────────────────────────────────────────────────────────────


def test_a_file_stands_in_for_the_variable(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")  # editors end files with a line break; secrets have none

    source = Environment({"KEY_FILE": str(tmp_path / "key")})

    assert source.text("KEY", help="A key.") == SECRET


def test_the_variable_wins_over_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from the file")

    assert Environment({"KEY": "itself", "KEY_FILE": str(tmp_path / "key")}).text("KEY", help="A key.") == "itself"


def test_files_serve_every_kind(tmp_path: Path) -> None:
    for name, content in {"N": "7\n", "F": "0.5\n", "B": "true\n", "L": "a,b\n"}.items():
        (tmp_path / name).write_text(content)
    source = Environment({f"{path.name}_FILE": str(path) for path in tmp_path.iterdir()})

    assert source.integer("N", 1, help="…") == 7
    assert source.number("F", 1.0, help="…") == 0.5
    assert source.flag("B", False, help="…") is True
    assert source.names("L", [], help="…") == ["a", "b"]


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    source = Environment({"KEY_FILE": str(tmp_path / "nowhere")})

    with pytest.raises(ImproperlyConfigured, match=r"^KEY_FILE: .*/nowhere cannot be read \(No such file"):
        source.text("KEY", help="A key.")


def test_a_wrong_database_url_in_a_file_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"postgres://ann:{SECRET}@db:port/name")

    with pytest.raises(ImproperlyConfigured) as refusal:
        Environment({"DATABASE_URL_FILE": str(tmp_path / "url")}).database("DATABASE_URL", "", help="…")

    assert SECRET not in str(refusal.value)


# ── Wrong values ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", ["many", "1.5", "0x10"])
def test_a_wrong_integer_names_the_variable_and_its_meaning(wrong: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^ATTEMPTS='{wrong}' is not a valid int\. It means: Attempts\.$"):
        Environment({"ATTEMPTS": wrong}).integer("ATTEMPTS", 5, help="Attempts.")


def test_an_empty_value_counts_as_none() -> None:
    assert Environment({"ATTEMPTS": ""}).integer("ATTEMPTS", 5, help="Attempts.") == 5


def test_a_wrong_number_names_the_variable_and_its_meaning() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^WAIT='soon' is not a valid float\. It means: Seconds\.$"):
        Environment({"WAIT": "soon"}).number("WAIT", 1.0, help="Seconds.")


def test_a_wrong_flag_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^SIGNUP_OPEN="):
        Environment({"SIGNUP_OPEN": "ture"}).flag("SIGNUP_OPEN", False, help="Whether anyone may sign up.")


def test_a_value_may_begin_with_a_dollar_sign() -> None:
    assert Environment({"KEY": f"${SECRET}"}).text("KEY", help="A key.") == f"${SECRET}"


@pytest.mark.parametrize("url", [f"postgres://ann:{SECRET}@db:port/name", f"postgres://ann:{SECRET}@db:70000/name"])
def test_a_wrong_database_url_shows_an_example_and_no_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL: .*Example: postgres://user:pass@") as refusal:
        Environment({"DATABASE_URL": url}).database("DATABASE_URL", "", help="…")

    assert SECRET not in str(refusal.value)


def test_lists_forgive_empty_entries() -> None:
    assert Environment({"HOSTS": "a,b,,"}).names("HOSTS", [], help="…") == ["a", "b"]
    assert Environment({"HOSTS": " a , b "}).names("HOSTS", [], help="…") == ["a", "b"]


def test_networks_are_read_and_one_that_is_none_is_refused() -> None:
    env = Environment({"GOOD": "10.1.0.0/16, fd00::/8", "WRONG": "10.1.0.1/16"})

    assert [str(network) for network in env.networks("GOOD", [], help="Ours.")] == ["10.1.0.0/16", "fd00::/8"]
    assert env.networks("ABSENT", ["127.0.0.0/8"], help="Ours.")[0].prefixlen == 8
    with pytest.raises(ImproperlyConfigured, match=r"WRONG.*It means: Ours"):
        env.networks("WRONG", [], help="Ours.")


def test_a_package_that_is_not_there_is_named() -> None:
    found = Environment({"APPS": "tests.shop, jobs"})

    assert found.packages("APPS", [], help="Apps.") == ["tests.shop", "jobs"]
    for missing in ("tests.shopp", "no_such_package.at_all", "a..b", "."):
        with pytest.raises(ImproperlyConfigured, match="APPS: there is no package"):
            Environment({"APPS": missing}).packages("APPS", [], help="Apps.")


def test_every_reading_is_remembered_in_order_with_its_default_as_text() -> None:
    source = Environment({"B": "2"})
    source.names("A", ["x", "y"], help="First.")
    source.integer("B", 1, help="Second.")

    assert [(r.name, r.kind, r.default, r.help) for r in source.readings] == [
        ("A", "list", "x,y", "First."),
        ("B", "int", "1", "Second."),
    ]


# ── Starting ──────────────────────────────────────────────────────────────────────────────────

GOOD = {"SECRET_KEY": "s" * 50, "JWT_SIGNING_KEY": "j" * 50}
SERVER = ["-m", "scheduler.server", "--bind", "127.0.0.1:8000"]


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["SECRET_KEY", "JWT_SIGNING_KEY"])
@pytest.mark.parametrize("command", [["manage.py", "run_worker"], ["manage.py", "run_scheduler"], SERVER])
def test_a_missing_secret_refuses_to_start_and_says_how_to_make_one(command: list[str], missing: str) -> None:
    code, errors = _start(command, {name: value for name, value in GOOD.items() if name != missing})

    assert code == 1
    assert f"{missing} is missing. Set it to" in errors.splitlines()[-1]


@pytest.mark.slow
def test_the_api_refuses_with_that_line_alone() -> None:
    _, errors = _start(SERVER, {})

    assert errors.startswith("sendonce: SECRET_KEY is missing.")
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_secrets_from_files_are_enough(tmp_path: Path) -> None:
    for name, value in GOOD.items():
        (tmp_path / name).write_text(value)

    code, errors = _start(["manage.py", "check"], {f"{name}_FILE": str(tmp_path / name) for name in GOOD})

    assert code == 0, errors


@pytest.mark.slow
def test_development_needs_no_secret() -> None:
    code, errors = _start(["manage.py", "check"], {"DEBUG": "true"})

    assert code == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"postgres://ann:{SECRET}@db:port/name"),
        ("DATABASE_URL", f"postgress://ann:{SECRET}@db/name"),
        ("EMAIL_PROVIDERS", f"smtp://ann:{SECRET}@relay:587"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"ann:{SECRET}@collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://ann:{SECRET}@:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://ann:{SECRET}@[collector:4318"),
    ],
)
def test_a_wrong_url_stops_the_start_and_its_password_is_nowhere(name: str, value: str) -> None:
    code, errors = _start(["manage.py", "check"], {**GOOD, name: value})

    assert code != 0
    assert name in errors.splitlines()[-1]
    assert SECRET not in errors


@pytest.mark.slow
@pytest.mark.parametrize("command", [["manage.py", "run_worker"], ["manage.py", "run_scheduler"], SERVER])
def test_a_collector_without_the_packages_for_it_refuses_to_start_and_says_what_to_install(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    variables = GOOD | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "PYTHONPATH": str(tmp_path)}

    code, errors = _start(command, variables)

    assert code == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but there is no opentelemetry.sdk here" in errors.splitlines()[-1]
    assert "pip install -r requirements-tracing.txt" in errors.splitlines()[-1]


def _start(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """Run with these variables and no others of ours; the exit code and what stands on stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=kept | variables, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr
