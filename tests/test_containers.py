"""The image and the Compose file: what can be seen in them, and, where a Docker engine answers, what they do."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.conf import tunables
from scheduler.embedded.child import free_port
from scheduler.server import GRACEFUL_SECONDS
from workers import probes
from workers.pulse import Pulse

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("sendonce:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())

each_service = pytest.mark.parametrize("name", SERVICES)


# ── The Compose file ──────────────────────────────────────────────────────────────────────────


def test_the_house_is_complete() -> None:
    assert set(SERVICES) == {
        *("secrets", "migrate", "api", "worker", "scheduler"),
        *("postgres", "redis", "mail", "prometheus", "grafana"),
    }
    assert sorted(ONE_SHOTS) == ["migrate", "secrets"]


@each_service
def test_a_service_tells_its_health_or_runs_once_and_is_waited_for(name: str) -> None:
    if name in ONE_SHOTS:
        waiting = [other.get("depends_on", {}).get(name, {}) for other in SERVICES.values()]
        assert {"condition": "service_completed_successfully"} in waiting
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@each_service
def test_whoever_needs_another_waits_until_it_is_there(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
        assert how == {"condition": expected}


def test_a_worker_may_drain_before_it_is_killed() -> None:
    assert _seconds(SERVICES["worker"]["stop_grace_period"]) >= tunables().drain_seconds + 15


def test_the_api_may_finish_its_requests_before_it_is_killed() -> None:
    assert _seconds(SERVICES["api"]["stop_grace_period"]) >= GRACEFUL_SECONDS + 5


@each_service
def test_an_image_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]

    assert re.search(r":(\$\{SENDONCE_TAG:-dev\}|v?\d[\w.-]*)$", image), image


@each_service
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["mem_limit"]
    assert not service.get("privileged")


@each_service
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", ["worker", "scheduler"])
def test_any_number_may_run(name: str) -> None:
    assert not {"ports", "container_name", "hostname"} & set(SERVICES[name])


@each_service
def test_no_secret_is_written_down(name: str) -> None:
    """A variable that carries one has no value here, or names a file of the volume `secrets`."""
    variables = SERVICES[name].get("environment", {})
    secret = {key: value for key, value in variables.items() if re.search("SECRET|PASSWORD|KEY|DATABASE_URL", key)}

    for key, value in secret.items():
        assert value.startswith("/secrets/") if key.endswith("_FILE") else value is None, key


def test_nothing_but_our_own_processes_reaches_postgres_and_redis() -> None:
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "data" in service.get("networks", [])} == {
        *("postgres", "redis"),
        *(OURS - {"secrets"}),
    }
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["data"]


def test_prometheus_asks_where_the_processes_answer() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}

    for name in ("worker", "scheduler"):
        (lookup,) = jobs[name]["dns_sd_configs"]
        assert (lookup["names"], lookup["type"]) == ([name], "A")
        assert SERVICES[name]["command"][-2:] == ["--metrics-port", str(lookup["port"])]
        assert SERVICES[name]["healthcheck"]["test"][4] == str(lookup["port"])
    assert jobs["api"]["static_configs"] == [{"targets": ["api:8000"]}]
    assert SERVICES["api"]["environment"]["ALLOWED_HOSTS"].endswith(",127.0.0.1,api")


@pytest.mark.parametrize("name", ["worker", "scheduler"])
def test_whoever_makes_no_progress_is_not_healthy(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][-1] == "/health/ready"


def test_the_probe_tells_what_the_process_says_of_itself() -> None:
    port, pulse = free_port(), Pulse(taker=5.0)

    def probe() -> tuple[int, str]:
        command = [sys.executable, "-IS", "deploy/compose/probe.py", str(port), "/health/ready"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stderr

    nobody, said_nobody = probe()
    with probes.serving(port, pulse):
        pulse.trouble("taker", "PostgreSQL: OperationalError")
        in_trouble, said_in_trouble = probe()
        pulse.progress("taker")
        well, _ = probe()

    assert (nobody, in_trouble, well) == (1, 1, 0)
    assert said_nobody.startswith("no answer: ")
    assert said_in_trouble.startswith("answered 503: ")
    assert "PostgreSQL: OperationalError" in said_in_trouble


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


# ── The Dockerfile ────────────────────────────────────────────────────────────────────────────


def test_base_images_have_a_version_and_are_one() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)

    assert len(bases) == 2
    assert set(bases) == {"python:3.12-slim-bookworm"}


def test_the_image_runs_as_a_numbered_user_that_owns_no_code() -> None:
    last_stage = DOCKERFILE.split("\nFROM ")[-1]

    assert re.findall(r"^USER (\S+)", last_stage, re.M) == ["10001:10001"]
    assert last_stage.index("\nCOPY . .") < last_stage.index("\nUSER ")
    assert "--chown" not in last_stage


def test_the_image_holds_no_secret() -> None:
    assert not re.findall(r"^(?:ENV|ARG)\b.*(?:SECRET|PASSWORD|KEY|TOKEN)", DOCKERFILE, re.M)
    assert not re.findall(r"^COPY .*\.env", DOCKERFILE, re.M)


def test_the_image_installs_production_requirements_only() -> None:
    assert re.findall(r"^ARG REQUIREMENTS=(\S+)", DOCKERFILE, re.M) == ["requirements.txt"]
    assert re.findall(r"^COPY (requirements.*) \./$", DOCKERFILE, re.M) == ["requirements.txt requirements-tracing.txt"]
    assert re.findall(r"install .*--requirement (\S+)", DOCKERFILE) == ['"$REQUIREMENTS"']


def test_signals_reach_the_process_itself() -> None:
    commands = re.findall(r"^\s*(?:CMD|ENTRYPOINT) (.*)", DOCKERFILE, re.M)

    assert commands
    assert all(json.loads(command) for command in commands)


def test_nothing_enters_the_image_unless_it_is_named() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    named = [line[1:] for line in lines if line[0] == "!"]

    assert lines[0] == "*"
    assert all((ROOT / name).exists() for name in named)
    assert not [name for name in named if name.startswith((".", "tests", "docs"))]
    assert "scheduler/embedded" in lines


# ── With a Docker engine ──────────────────────────────────────────────────────────────────────


def _run(command: str, *, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def _reason_to_skip() -> str:
    if not shutil.which("docker"):
        return "no docker command here"
    return "" if _run("docker info", timeout=30).returncode == 0 else "no Docker engine answers `docker info`"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    if reason := _reason_to_skip():
        pytest.skip(reason)
    tag = f"sendonce:test-{uuid.uuid4().hex[:8]}"
    built = _run(f"docker build --tag {tag} .", timeout=600)
    assert built.returncode == 0, built.stderr[-2000:]
    yield tag
    _run(f"docker image rm {tag}")


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_built_image(image: str) -> None:
    """One container looks at everything, since each start costs a second."""
    look = (
        "id -u; command -v gcc; command -v pip >/dev/null && ls /venv/bin | grep -c pip; test -w /app && echo writable;"
        "ls scheduler/embedded tests .git .env 2>/dev/null; ls staticfiles | head -1; env | grep -iE 'secret|password';"
        "python -c 'import pytest' 2>/dev/null && echo pytest; exit 0"
    )

    seen = _run(f"docker run --rm --read-only --tmpfs /tmp {image} sh -c {shlex.quote(look)}")

    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.split() == ["10001", "0", "admin"]


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_built_image_refuses_to_start_without_secrets(image: str) -> None:
    started = _run(f"docker run --rm {image}")

    assert started.returncode == 1
    assert started.stderr.startswith("sendonce: SECRET_KEY is missing.")
    assert started.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_built_image_keeps_no_secret_of_its_build(image: str) -> None:
    configured = json.loads(_run(f"docker image inspect {image}").stdout)[0]["Config"]

    assert configured["User"] == "10001:10001"
    assert not [
        variable for variable in configured["Env"] if re.match(r"SECRET_KEY|JWT_|DATABASE_URL|\w*PASSWORD", variable)
    ]


@pytest.mark.slow
def test_compose_reads_its_file() -> None:
    if not shutil.which("docker") or _run("docker compose version").returncode:
        pytest.skip("no Docker Compose here")

    read = _run("docker compose --env-file /dev/null config --quiet")

    assert read.returncode == 0, read.stderr
