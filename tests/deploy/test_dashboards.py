"""Dashboards: files that Grafana can read, whose queries are queries, and which show all that is counted; and Grafana
itself, which nobody enters without the password that was made for it."""

from __future__ import annotations

import stat
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from jobs import metrics
from jobs.gauges import PlatformGauges
from tests.deploy.promql import grouped_by, selectors
from tests.deploy.watching import DASHBOARDS, GRAFANA, ROOT, panels, queries

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["grafana"]
OF_PROMETHEUS = {"job", "instance", "alertname", "priority"}  # labels that a query need not group by to show

each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def provisioned(kind: str) -> dict[str, Any]:
    (path,) = (GRAFANA / "provisioning" / kind).glob("*.yml")
    (entry,) = yaml.safe_load(path.read_text())[{"datasources": "datasources", "dashboards": "providers"}[kind]]
    return entry


# ── The files ─────────────────────────────────────────────────────────────────────────────────


@each_dashboard
def test_a_dashboard_is_one_that_grafana_finds_again(name: str) -> None:
    dashboard = DASHBOARDS[name]
    addresses = [f"/d/{each['uid']}" for each in DASHBOARDS.values()]

    assert dashboard["uid"] == f"sendonce-{name}"
    assert dashboard["title"].startswith("Sendonce: ")
    assert all(link["url"] in addresses for link in dashboard["links"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@each_dashboard
def test_panels_lie_side_by_side(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [(a, b) for a, b in combinations(places, 2) if _overlap(a, b)]


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    return all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "w"), ("y", "h")))


@each_dashboard
def test_panels_ask_the_data_source_that_is_there(name: str) -> None:
    source = {"type": provisioned("datasources")["type"], "uid": provisioned("datasources")["uid"]}

    for panel in panels(DASHBOARDS[name]):
        assert panel["targets"], panel["title"]
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [
            source,
            *[source] * len(panel["targets"]),
        ]


@pytest.mark.parametrize("query", queries().values(), ids=queries())
def test_a_query_is_one(query: str) -> None:
    assert selectors(query)


@each_dashboard
def test_a_legend_names_labels_that_are_left(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            named = {part.partition("}}")[0] for part in target["legendFormat"].split("{{")[1:]}
            assert named <= grouped_by(target["expr"]) | OF_PROMETHEUS, panel["title"]


@pytest.mark.django_db
def test_whatever_we_count_is_shown() -> None:
    counted = {each._name for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)}
    told = counted | {family.name for family in PlatformGauges().collect()}
    asked = {selector.name for query in queries().values() for selector in selectors(query)}

    assert len(told) > 10
    assert {name for name in told if not any(one.startswith(name) for one in asked)} == set()


# ── Grafana itself ────────────────────────────────────────────────────────────────────────────


def test_grafana_finds_its_files_where_compose_mounts_them() -> None:
    mounts = dict(volume.split(":")[:2] for volume in SERVICE["volumes"])

    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./deploy/grafana/dashboards"] == provisioned("dashboards")["options"]["path"]
    assert provisioned("datasources")["url"] == "http://prometheus:9090"
    assert set(SERVICE["networks"]) == set(COMPOSE["services"]["prometheus"]["networks"])


def test_nobody_enters_without_a_password() -> None:
    environment = SERVICE["environment"]

    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/secrets/admin_password"
    assert environment["GF_SECURITY_SECRET_KEY__FILE"] == "/secrets/secret_key"


def test_its_secrets_are_made_once_and_lie_apart_from_the_others(tmp_path: Path) -> None:
    first, again = made_secrets(tmp_path), made_secrets(tmp_path)

    assert first == again
    assert set(first) == {"admin_password", "secret_key"}
    assert all(len(secret) >= 32 for secret in first.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "grafana").iterdir()} == {0o444}
    assert "grafana-secrets:/secrets/grafana" in COMPOSE["services"]["secrets"]["volumes"]
    assert [volume for volume in SERVICE["volumes"] if volume.startswith("secrets:")] == []


def made_secrets(folder: Path) -> dict[str, str]:
    """What Grafana is given, after one more start of the service `secrets`."""
    command = [sys.executable, "deploy/compose/make_secrets.py", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return {path.name: path.read_text() for path in (folder / "grafana").iterdir()}
