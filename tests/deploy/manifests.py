"""The manifests for Kubernetes, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy/k8s"
BASE = K8S / "base"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def documents(*files: Path) -> list[dict[str, Any]]:
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def written(folder: Path) -> list[dict[str, Any]]:
    return documents(*(file for file in sorted(folder.glob("*.yaml")) if file.name != "kustomization.yaml"))


def kustomization(folder: Path) -> dict[str, Any]:
    (document,) = documents(folder / "kustomization.yaml")
    return document


ALL = [*written(BASE), *(document for name in OVERLAYS for document in written(K8S / "overlays" / name))]
BY_NAME = {(document["kind"], document["metadata"]["name"]): document for document in ALL}
SETTINGS = dict(
    line.split("=", 1) for line in (BASE / "settings.env").read_text().splitlines() if line and line[0] != "#"
)
PODS = {
    f"{document['kind']} {document['metadata']['name']}": document["spec"]["template"]["spec"]
    for document in ALL
    if document["kind"] in ("Deployment", "Job")
}
OUR_PODS = {name: pod for name, pod in PODS.items() if pod["containers"][0]["image"] == "sendonce"}
# Containers of those that go on.
PROBED = {name: pod["containers"][0] for name, pod in OUR_PODS.items() if name.startswith("Deployment")}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def gets(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each of the three probes asks for."""
    return {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}


def given(container: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Variables of a container by name; those that only stand in the value of another are none of ours."""
    variables = container.get("env", [])
    within = {name for each in variables for name in re.findall(r"\$\((\w+)\)", each.get("value", ""))}
    for each in variables:
        if each["name"] not in within:
            yield each["name"], each.get("value")
