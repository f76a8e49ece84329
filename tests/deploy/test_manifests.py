"""What can be seen in the manifests for Kubernetes, and, where there is kubectl, what it makes of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from scheduler.settings import env
from tests.deploy.manifests import (
    ALL,
    BASE,
    BY_NAME,
    COMPOSE,
    K8S,
    OUR_PODS,
    OVERLAYS,
    PODS,
    PROBED,
    ROOT,
    SETTINGS,
    containers,
    given,
    kustomization,
)

API_COMMAND = json.loads(re.findall(r"^CMD (.*)", (ROOT / "Dockerfile").read_text(), re.M)[-1])
RELEASE = "1.32"  # of Kubernetes, whose schemas are asked
OF_OTHERS = {"ScaledObject"}  # kinds that Kubernetes itself does not know

KNOWN = {name for reading in env.readings for name in (reading.name, f"{reading.name}_FILE")}
SECRET = {"SECRET_KEY", "JWT_SIGNING_KEY", "JWT_PRIVATE_KEY", "DATABASE_URL", "REDIS_URL"} | {
    *("EMAIL_PROVIDERS", "EVIDENCE_SOURCES")
}


each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
each_of_ours = pytest.mark.parametrize("pod", OUR_PODS.values(), ids=OUR_PODS)


# ── What runs ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_what_is_applied() -> None:
    for folder in (BASE, *(K8S / "overlays" / name for name in OVERLAYS)):
        listed = {name for name in kustomization(folder)["resources"] if name.endswith(".yaml")}

        assert listed == {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_all_roles_run_by_the_commands_of_compose() -> None:
    commands = {name.split()[1]: pod["containers"][0]["command"] for name, pod in OUR_PODS.items()}

    assert commands == {
        "api": API_COMMAND,
        **{name: COMPOSE[name]["command"] for name in ("migrate", "worker", "scheduler")},
    }


@pytest.mark.parametrize("document", ALL, ids=lambda document: f"{document['kind']} {document['metadata']['name']}")
def test_kubernetes_knows_every_field(document: dict[str, Any]) -> None:
    if document["kind"] not in OF_OTHERS:
        kubernetes_validate.validate(document, RELEASE, strict=True)


def test_a_misspelt_field_would_be_seen() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"selektor": {}}},
            RELEASE,
            strict=True,
        )


def test_images_have_a_version() -> None:
    (named,) = kustomization(BASE)["images"]
    (local,) = kustomization(K8S / "overlays/local")["images"]
    others = {c["image"] for pod in PODS.values() for c in containers(pod)} - {"sendonce"}

    assert named["name"] == "sendonce"
    assert re.fullmatch(r"\d+\.\d+\.\d+", named["newTag"])
    assert local["name"] == named["newName"]  # else the local one would be fetched from somewhere
    assert others == {COMPOSE[name]["image"] for name in ("postgres", "redis", "mail")}


def test_whoever_points_at_pods_finds_some() -> None:
    def matches(selector: dict[str, Any]) -> bool:
        wanted = {(key, (value,)) for key, value in selector.get("matchLabels", {}).items()} | {
            (each["key"], tuple(each["values"])) for each in selector.get("matchExpressions", [])
        }
        labels = [{**document["spec"]["template"]["metadata"]["labels"], "app.kubernetes.io/part-of": "sendonce"}
                  for document in ALL if document["kind"] in ("Deployment", "Job")]  # fmt: skip
        return all(any(label.get(key) in values for label in labels) for key, values in wanted)

    for (kind, name), document in BY_NAME.items():
        spec = document.get("spec", {})
        if kind == "Service":
            assert matches({"matchLabels": spec["selector"]}), name
        elif kind in ("PodDisruptionBudget", "Deployment"):
            assert matches(spec["selector"]), name
        elif kind == "NetworkPolicy":
            assert matches(spec["podSelector"]), name
        elif kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            assert (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) in BY_NAME


# ── What it may do ────────────────────────────────────────────────────────────────────────────


@each_pod
def test_a_pod_may_do_little(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]


@each_of_ours
def test_our_pods_run_as_the_user_of_the_image(pod: dict[str, Any]) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", (ROOT / "Dockerfile").read_text(), re.M)

    assert {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}


# ── Settings and secrets ──────────────────────────────────────────────────────────────────────


def all_given() -> dict[str, str | None]:
    (merged,) = kustomization(K8S / "overlays/local")["configMapGenerator"]
    local = dict(literal.split("=", 1) for literal in merged["literals"])
    of_pods = {name: value for pod in OUR_PODS.values() for c in containers(pod) for name, value in given(c)}
    return {**local, **SETTINGS, **of_pods}


def test_sendonce_knows_every_variable() -> None:
    assert len(all_given()) > 10
    assert all_given().keys() <= KNOWN


def test_a_name_within_a_value_comes_before_it() -> None:
    """Kubernetes puts in what stands above only, and knows nothing of `envFrom` there."""
    for container in PROBED.values():
        seen: set[str] = set()
        for each in container.get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", each.get("value", ""))) <= seen
            seen.add(each["name"])


def test_no_secret_is_written_down() -> None:
    files = [path for path in K8S.rglob("*") if path.is_file()]

    assert not SECRET & all_given().keys()
    assert not [document for document in ALL if document["kind"] == "Secret"]
    assert not [
        path for path in files if re.search(r"-----BEGIN|secretGenerator|//[^/\s:]+:[^@\s]+@", path.read_text())
    ]


def test_the_page_says_which_secrets_to_make() -> None:
    files = {Path(value).name for name, value in SETTINGS.items() if name.endswith("_FILE")}
    page = (ROOT / "docs/deploying.md").read_text()

    assert {Path(value).parent for name, value in SETTINGS.items() if name.endswith("_FILE")} == {Path("/secrets")}
    assert set(re.findall(r"--from-literal=(\w+)=", page)) == files | {"postgres_password"}


@each_of_ours
def test_secrets_are_files(pod: dict[str, Any]) -> None:
    assert pod["volumes"][0]["name"] == "secrets"
    for container in containers(pod):
        assert container["envFrom"] == [{"configMapRef": {"name": "sendonce"}}]
        assert {"name": "secrets", "mountPath": "/secrets", "readOnly": True} in container["volumeMounts"]


# ── With kubectl ──────────────────────────────────────────────────────────────────────────────


def rendered(folder: str) -> list[dict[str, Any]]:
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here, which renders the overlays")
    said = subprocess.run(["kubectl", "kustomize", K8S / folder], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    return list(yaml.safe_load_all(said.stdout))


def pods(made: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from (document["spec"]["template"]["spec"] for document in made if document["kind"] in ("Deployment", "Job"))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_what_kubectl_renders_is_understood_and_in_one_namespace(folder: str) -> None:
    made = rendered(folder)

    assert {document["metadata"]["namespace"] for document in made} == {"sendonce"}
    for document in made:
        if document["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(document, RELEASE, strict=True)
    images = {
        c["image"]
        for d in made
        if d["kind"] in ("Deployment", "Job")
        for c in containers(d["spec"]["template"]["spec"])
    }
    assert "sendonce" not in images


@pytest.mark.slow
def test_who_is_scaled_has_no_number_of_its_own() -> None:
    counts = {
        d["metadata"]["name"]: d["spec"].get("replicas")
        for d in rendered("overlays/autoscale")
        if d["kind"] == "Deployment"
    }

    assert counts == {"api": None, "worker": None, "scheduler": 2}


@pytest.mark.slow
def test_on_gke_secrets_come_from_secret_manager() -> None:
    ours = list(pods(rendered("overlays/gke")))

    assert len(ours) == 4
    assert {pod["volumes"][0]["csi"]["driver"] for pod in ours} == {"secrets-store-gke.csi.k8s.io"}
