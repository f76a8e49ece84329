"""Alerts: each says what to do, is tried both ways by promtool's own tests, and is one that Prometheus can read."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.promql import selectors
from tests.deploy.watching import ALERTS, PROMETHEUS, ROOT, SCRAPES

TRIALS = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())
IMAGE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["image"]
PAGE = "docs/operations.md"

each_alert = pytest.mark.parametrize("name", ALERTS)


def anchors() -> dict[str, str]:
    """The headings of the page, by the anchor that a browser knows each by; with the text below each."""
    parts = re.split(r"^#+ (.+)$", (ROOT / PAGE).read_text(), flags=re.M)
    heads = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in parts[1::2]]
    return dict(zip(heads, parts[2::2], strict=True))


@each_alert
def test_an_alert_says_what_is_so_and_where_it_is_told_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    notes = rule["annotations"]
    page, _, anchor = notes["runbook"].partition("#")

    assert set(notes) == {"summary", "description", "runbook"}
    assert all(notes.values())
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert page == PAGE
    assert anchor == name.lower()
    assert len(anchors()[anchor].split()) > 20, "a paragraph, not a title"


def test_no_paragraph_is_about_an_alert_that_is_gone() -> None:
    runbooks = (ROOT / PAGE).read_text().partition("\n## Runbooks\n")[2].partition("\n## ")[0]

    assert re.findall(r"^### (.+)$", runbooks, re.M) == list(ALERTS)


@each_alert
def test_an_alert_is_a_query(name: str) -> None:
    assert selectors(ALERTS[name]["expr"])


@each_alert
def test_an_alert_is_tried_both_ways(name: str) -> None:
    trials = [trial for test in TRIALS["tests"] for trial in test["alert_rule_test"] if trial["alertname"] == name]

    assert {bool(trial["exp_alerts"]) for trial in trials} == {True, False}


def test_prometheus_loads_what_is_tried() -> None:
    assert SCRAPES["rule_files"] == TRIALS["rule_files"] == ["alerts.yml"]


# ── With promtool ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def promtool() -> list[str]:
    """On this machine, or in the image that the Compose file names."""
    if shutil.which("promtool"):
        return ["promtool"]
    if not shutil.which("docker") or run(["docker", "info"]).returncode:
        pytest.skip("neither promtool nor a Docker engine here")
    return shlex.split(
        f"docker run --rm --volume {PROMETHEUS}:/rules:ro --workdir /rules --entrypoint promtool {IMAGE}"
    )


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_has_nothing_to_say_against_it(promtool: list[str], what: str) -> None:
    ended: Any = run([*promtool, *what.split()])

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SUCCESS" in ended.stdout
