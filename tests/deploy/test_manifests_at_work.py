"""The manifests beside what really answers, waits, drains and tells numbers."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.core.management import call_command
from django.db.migrations.recorder import MigrationRecorder
from django.urls import resolve

from jobs.gauges import PlatformGauges
from scheduler import urls
from scheduler.embedded.child import free_port
from scheduler.server import GRACEFUL_SECONDS
from tests.deploy.manifests import (
    BY_NAME,
    OUR_PODS,
    PROBED,
    ROOT,
    SETTINGS,
    gets,
    given,
)
from workers import probes
from workers.journal import Journal
from workers.pulse import Pulse
from workers.worker import HAND_BACK_SECONDS, Worker

each_probed = pytest.mark.parametrize("container", PROBED.values(), ids=PROBED)


# ── Probes ────────────────────────────────────────────────────────────────────────────────────


@each_probed
def test_probes_ask_where_the_process_answers(container: dict[str, Any]) -> None:
    (port,) = container["ports"]

    assert port["containerPort"] == int(container["command"][-1].rpartition(":")[2])
    assert {get["port"] for get in gets(container).values()} == {port["name"]}


@each_probed
def test_only_a_process_that_does_not_answer_is_started_again(container: dict[str, Any]) -> None:
    paths = {kind: get["path"] for kind, get in gets(container).items()}

    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }


def test_the_api_has_the_paths_that_are_probed() -> None:
    for get in gets(PROBED["Deployment api"]).values():
        assert resolve(get["path"]).func is not urls.urlpatterns[-1].callback  # which takes what leads nowhere


def test_workers_and_the_clock_have_the_paths_that_are_probed() -> None:
    port, pulse = free_port(), Pulse(taker=5.0)
    pulse.progress("taker")

    with probes.serving(port, pulse):
        for name in ("worker", "scheduler"):
            for get in gets(PROBED[f"Deployment {name}"]).values():
                assert httpx.get(f"http://127.0.0.1:{port}{get['path']}").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "api:8000", "10.1.2.3:8000", "sendonce.example.org"])
def test_the_api_answers_to_whoever_calls_it_in_a_cluster(host: str, client: Any, settings: Any) -> None:
    (said,) = [v["value"] for v in PROBED["Deployment api"]["env"] if v["name"] == "ALLOWED_HOSTS"]
    put_in = said.replace("$(PUBLIC_HOSTS)", SETTINGS["ALLOWED_HOSTS"]).replace("$(POD_IP)", "10.1.2.3")
    settings.ALLOWED_HOSTS = put_in.split(",")

    assert client.get("/health/live", headers={"host": host}).status_code == 200
    assert client.get("/health/live", headers={"host": "10.1.2.4:8000"}).status_code == 400


def test_the_probes_of_the_api_name_a_host_that_it_knows() -> None:
    hosts = {header["value"] for get in gets(PROBED["Deployment api"]).values() for header in get["httpHeaders"]}

    assert hosts == {"localhost"}


@pytest.mark.slow
def test_a_process_starts_by_these_settings(tmp_path: Path) -> None:
    secrets = {
        "secret_key": "k" * 50,
        "jwt_signing_key": "j" * 50,
        "database_url": "postgres://sendonce:p@postgres:5432/sendonce?sslmode=require",
        "redis_url": "rediss://:p@redis:6378/0?ssl_ca_certs=/secrets/redis_ca&ssl_check_hostname=false",
        "email_providers": "main=smtp+tls://user:p@smtp.example.org:587",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value + "\n")
    settings = {name: value.replace("/secrets", str(tmp_path)) for name, value in SETTINGS.items()}
    command = [sys.executable, "manage.py", "check", "--tag", "security", "--fail-level", "WARNING"]

    said = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"], **settings}, capture_output=True, text=True, timeout=60
    )

    assert (said.returncode, said.stderr) == (0, "")


# ── Beginning and end ─────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_who_waits_for_migrations_fails_until_none_is_missing() -> None:
    last = MigrationRecorder.Migration.objects.filter(app="jobs").latest("id")

    call_command("migrate", check=True, verbosity=0)
    last.delete()
    with pytest.raises(SystemExit) as ended:
        call_command("migrate", check=True, verbosity=0)

    assert ended.value.code == 1


def test_everybody_who_serves_waits_for_migrations() -> None:
    for name in PROBED:
        (waiting,) = OUR_PODS[name]["initContainers"]
        assert waiting["command"] == ["python", "manage.py", "migrate", "--check"]


def test_a_worker_may_drain_and_hand_back_before_it_is_killed() -> None:
    steps = sum(inspect.getsource(step).count("HAND_BACK_SECONDS") for step in (Worker._drain, Worker._finish_trips))
    longest = float(SETTINGS["DRAIN_SECONDS"]) + steps * HAND_BACK_SECONDS

    assert steps >= 2
    assert OUR_PODS["Deployment worker"]["terminationGracePeriodSeconds"] >= longest + 5


def test_the_api_may_finish_its_requests_before_it_is_killed() -> None:
    pod = OUR_PODS["Deployment api"]
    (_, seconds) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert pod["terminationGracePeriodSeconds"] >= int(seconds) + GRACEFUL_SECONDS + 5


def test_the_journal_outlives_the_container() -> None:
    pod = OUR_PODS["Deployment worker"]
    mounted = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    folder = Path(dict(given(pod["containers"][0]))["JOURNAL_DIR"] or "")
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mounted[str(folder.parent)]]

    assert volume["emptyDir"].keys() == {"sizeLimit"}  # on the node's disk


def test_a_journal_is_kept_in_a_folder_of_a_volume_and_not_in_the_volume_itself(tmp_path: Path) -> None:
    """Kubernetes makes volumes that their group, or everybody, may write to."""
    tmp_path.chmod(0o2777)
    for folder, is_kept in ((tmp_path / "own" / "database", True), (tmp_path / "database", False)):
        journal = Journal(folder, UUID(int=1))

        assert bool(list(folder.glob("*.journal"))) is is_kept
        journal.close()


# ── Growing ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_workers_grow_by_gauges_that_exist(bell: Any) -> None:
    told = {metric.name: metric._labelnames for metric in PlatformGauges().collect()}  # type: ignore[attr-defined]
    queries = [t["metadata"]["query"] for t in BY_NAME["ScaledObject", "worker"]["spec"]["triggers"]]
    asked = [re.findall(r"(\w+)\{", query) for query in queries]
    grouped = {
        label.strip() for query in queries for by in re.findall(r"by \((.*?)\)", query) for label in by.split(",")
    }

    assert asked == [["queue_depth"], ["queue_oldest_age_seconds"]]
    assert {"queue_depth", "queue_oldest_age_seconds"} <= told.keys()
    assert grouped <= set(told["queue_depth"])
    assert all("max" in query for query in queries)  # each pod tells the same numbers
