"""The Terraform modules, read as text: nothing here has an account to apply them to, nor a registry to ask."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from scheduler.server import GRACEFUL_SECONDS
from scheduler.settings import env
from workers.worker import HAND_BACK_SECONDS, Worker

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "deploy/terraform"
MODULES = ["aws", "gcp"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
FARGATE_SECONDS = 120  # the longest stopTimeout
KNOWN = {reading.name for reading in env.readings}

each_module = pytest.mark.parametrize("module", MODULES)


def text(module: str) -> str:
    """All files of a module, without comments."""
    files = sorted((TERRAFORM / module).glob("*.tf"))
    return re.sub(r"(?m)(^|\s)#.*$", "", "\n".join(file.read_text() for file in files))


def blocks(module: str, kind: str) -> dict[str, dict[str, Any]]:
    """By name; of resources and data by type.name."""
    found: dict[str, dict[str, Any]] = {}
    for file in (TERRAFORM / module).glob("*.tf"):
        for block in hcl2.loads(file.read_text()).get(kind, []):
            for name, body in block.items():
                if kind in ("variable", "output"):
                    found[name.strip('"')] = body
                else:
                    found |= {f"{name}.{inner}".replace('"', ""): of for inner, of in body.items()}
    return found


AWS, GCP = text("aws"), text("gcp")


# ── Both ──────────────────────────────────────────────────────────────────────────────────────


@each_module
def test_every_variable_and_output_says_what_it_is(module: str) -> None:
    told = blocks(module, "variable") | blocks(module, "output")

    assert told
    assert [name for name, body in told.items() if len(body.get("description", "")) < 10] == []
    assert [name for name, body in blocks(module, "variable").items() if "type" not in body] == []


@each_module
def test_every_variable_is_read_and_every_name_that_is_read_exists(module: str) -> None:
    said = text(module)
    within = re.findall(r"(?ms)^locals \{\n(.*?)^\}", said)
    declared_locals = {name for block in within for name in re.findall(r"(?m)^  (\w+)\s*=", block)}
    things = set(blocks(module, "resource")) | {f"data.{name}" for name in blocks(module, "data")}
    things |= {f"ephemeral.{name}" for name in blocks(module, "ephemeral")}
    named = set(re.findall(r"(?<![\w.\"/])((?:data\.|ephemeral\.)?(?:aws|google|random)_\w+\.\w+)", said))

    assert set(re.findall(r"\bvar\.(\w+)", said)) == set(blocks(module, "variable"))
    assert set(re.findall(r"\blocal\.(\w+)", said)) == declared_locals
    assert len(named) > 10
    assert named <= things


@each_module
def test_the_example_gives_what_has_no_default(module: str) -> None:
    (call,) = hcl2.loads((TERRAFORM / module / "example/main.tf").read_text())["module"]
    given = set(call['"sendonce"']) - {"source"}
    variables = blocks(module, "variable")

    assert {name for name, body in variables.items() if "default" not in body} <= given
    assert {name for name in given if not name.startswith("__")} <= set(variables)


@each_module
def test_no_secret_is_written_down_and_those_made_here_are_not_kept_in_the_state(module: str) -> None:
    said = text(module)

    assert re.findall(r"(?m)^\s*(?:password|auth_token|secret_string)\s*=", said) == []
    assert re.findall(r'(?m)^\s*(?:\w*password\w*|secret\w*)_wo\s*=\s*"', said) == []
    assert len(re.findall(r'(?m)^ephemeral "random_password"', said)) == 3
    assert 'resource "random_password"' not in said
    # What Google makes itself is read from the state in any case.
    kept = re.findall(r"(?m)^  secret_data\s+=", said)
    assert len(kept) == {"aws": 0, "gcp": 2}[module]


@each_module
def test_postgres_commits_synchronously_and_has_a_standby(module: str) -> None:
    said = text(module)

    assert re.search(r'name\s*=\s*"synchronous_commit"\s+value\s*=\s*"on"', said)
    assert re.search({"aws": r"(?m)^  multi_az\s*=\s*true", "gcp": r'availability_type\s*=\s*"REGIONAL"'}[module], said)


# ── AWS ───────────────────────────────────────────────────────────────────────────────────────


def test_sendonce_knows_every_variable_of_a_task() -> None:
    (made,) = re.findall(r"(?ms)environment = merge\(\{(.*?)^  \}, var\.settings", AWS)
    plain = set(re.findall(r"(?m)^\s+([A-Z_]+)\s*=", made))
    (secret,) = re.findall(r'for_each = toset\(\[("SECRET_KEY".*?)\]\)', AWS)
    secrets = {*re.findall(r'"([A-Z_]+)"', secret), *re.findall(r"\{ ([A-Z_]+) = var\.email_providers_secret_arn", AWS)}

    assert len(plain) > 5
    assert plain <= KNOWN
    assert secrets == {"SECRET_KEY", "JWT_SIGNING_KEY", "DATABASE_URL", "EMAIL_PROVIDERS"}
    assert secrets <= KNOWN


def test_tasks_run_by_the_commands_of_compose() -> None:
    commands = [re.findall(r'"(.*?)"', said) for said in re.findall(r"(?m)^      command = \[(.*)\]", AWS)]

    assert [COMPOSE[name]["command"] for name in ("worker", "scheduler")] == commands[1:3]
    assert commands[0] == ["python", "-m", "scheduler.server", "--bind", "0.0.0.0:8000"]
    assert ", ".join(f'"{word}"' for word in COMPOSE["migrate"]["command"]) in AWS


def test_tasks_are_killed_after_they_could_have_ended() -> None:
    (beyond,) = map(int, re.findall(r"stop = var\.drain_seconds \+ (\d+)", AWS))
    (most,) = map(int, re.findall(r"var\.drain_seconds <= (\d+)", AWS))
    steps = sum(inspect.getsource(step).count("HAND_BACK_SECONDS") for step in (Worker._drain, Worker._finish_trips))

    assert beyond >= steps * HAND_BACK_SECONDS + 5
    assert most + beyond <= FARGATE_SECONDS
    assert min(map(int, re.findall(r"stop = (\d+)", AWS))) >= GRACEFUL_SECONDS + 5


def test_a_task_is_started_again_when_it_does_not_answer_and_gets_requests_when_it_is_ready() -> None:
    assert set(re.findall(r'probe\s*=\s*"(.*?)"', AWS)) == {"/health/live"}
    assert re.findall(r'(?m)^    path\s*=\s*"(.*?)"', AWS) == ["/health/ready"]


# ── Google ────────────────────────────────────────────────────────────────────────────────────


def test_pods_find_the_files_that_their_settings_name() -> None:
    settings = (ROOT / "deploy/k8s/base/settings.env").read_text()
    wanted = set(re.findall(r"_FILE=/secrets/(\w+)", settings))
    (made,) = re.findall(r"made_here = toset\(\[(.*?)\]\)", GCP)
    there = {*re.findall(r'"(\w+)"', made), *re.findall(r"\{ (\w+) = var\.email_providers_secret", GCP)}

    assert there == wanted | set(re.findall(r"ssl_ca_certs=/secrets/(\w+)", GCP))


# ── With Terraform ────────────────────────────────────────────────────────────────────────────


def terraform(*arguments: str, module: str = ".") -> subprocess.CompletedProcess[str]:
    if not shutil.which("terraform"):
        pytest.skip("no terraform here")
    quiet = os.environ | {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    command = ["terraform", f"-chdir={TERRAFORM / module}", *arguments]
    return subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_files_are_formatted() -> None:
    said = terraform("fmt", "-check", "-recursive")

    assert (said.returncode, said.stdout) == (0, "")


GOOD = {
    "aws": {
        "image": "registry.example.org/sendonce:0.1.0",
        "image_repository_arn": "arn:repository",
        "vpc_id": "vpc-1",
        "private_subnet_ids": ["subnet-a", "subnet-b"],
        "load_balancer_subnet_ids": ["subnet-a", "subnet-b"],
        "client_cidrs": ["10.0.0.0/16"],
        "hostname": "sendonce.example.org",
        "certificate_arn": "arn:certificate",
        "email_providers_secret_arn": "arn:secret",
    },
    "gcp": {
        "project_id": "shop",
        "region": "europe-west3",
        "network_id": "n",
        "subnetwork_id": "s",
        "operator_cidrs": ["203.0.113.0/24"],
        "email_providers_secret": "sendonce-email-providers",
    },
}
BAD = [
    ("aws", "image", "registry.example.org/sendonce"),
    ("aws", "image", "registry.example.org/sendonce:latest"),
    ("aws", "private_subnet_ids", ["subnet-a"]),
    ("aws", "client_cidrs", ["everybody"]),
    ("aws", "client_cidrs", []),
    ("aws", "hostname", "https://sendonce.example.org"),
    ("aws", "drain_seconds", 81),
    ("aws", "worker_count", {"least": 0, "most": 3}),
    ("aws", "api_count", {"least": 3, "most": 2}),
    ("aws", "settings", {"SECRET_KEY": "x"}),
    ("aws", "name", "Sendonce"),
    ("gcp", "region", "europe-west3-a"),
    ("gcp", "operator_cidrs", []),
    ("gcp", "database_tier", "db-f1-micro"),
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, Any]], str]:
    """What Terraform objects to variables of a module: nothing, or its error. It needs no provider for that."""
    folders = {module: tmp_path_factory.mktemp(module) for module in MODULES}
    for module, folder in folders.items():
        shutil.copy(TERRAFORM / module / "variables.tf", folder)
        said = terraform("init", module=str(folder))
        assert said.returncode == 0, said.stderr

    def objection(module: str, values: dict[str, Any]) -> str:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
        (folders[module] / "terraform.tfvars.json").write_text(f"{{\n{lines}\n}}")
        return terraform("plan", "-no-color", module=str(folders[module])).stderr

    return objection


@pytest.mark.slow
@each_module
def test_good_variables_are_taken(plan: Callable[..., str], module: str) -> None:
    assert plan(module, GOOD[module]) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "value"), BAD)
def test_bad_variables_are_refused_by_name(plan: Callable[..., str], module: str, name: str, value: Any) -> None:
    said = plan(module, GOOD[module] | {name: value})

    assert "Invalid value for variable" in said
    assert re.search(rf'(?m)^ +\d+: "{name}": ', said)


@pytest.mark.slow
@each_module
def test_terraform_finds_it_valid(module: str) -> None:
    if not (TERRAFORM / module / ".terraform").exists():
        pytest.skip(f"the providers are not here: `terraform -chdir=deploy/terraform/{module} init` fetches them")

    said = terraform("validate", "-no-color", module=module)

    assert said.returncode == 0, said.stderr
