"""What dashboards and alerts ask for is what a Sendonce tells that has sent, refused, deferred and lost track."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rest_framework_simplejwt.tokens import AccessToken

from scheduler.embedded.child import Child, free_port
from scheduler.embedded.faulty_smtp import THROW_AWAY_AND_DROP
from tests.deploy.promql import concrete, grouped_by, selectors
from tests.deploy.watching import ALERTS, PROMETHEUS, SCRAPES, queries
from tests.journeys.platform import metric

pytestmark = pytest.mark.slow

OF_PROMETHEUS = {"up", "ALERTS"}  # series that it makes itself
QUERIES = queries()


@dataclass(frozen=True)
class Watched:
    """The ports of each kind of process, as Prometheus's jobs name them."""

    ports: Mapping[str, list[int]]

    def text(self, job: str) -> str:
        return "\n".join(
            httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text for port in self.ports[job]
        )

    def series(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Everything that is told, with the labels that Prometheus adds."""
        for job, ports in self.ports.items():
            of_job = {"job": job, "instance": f"127.0.0.1:{ports[0]}"}
            yield "up", of_job
            for family in text_string_to_metric_families(self.text(job)):
                for sample in family.samples:
                    yield sample.name, {**sample.labels, **of_job}


@pytest.fixture
def watched(platform, smtp, owner) -> Watched:
    """All has happened that is counted."""
    worker, clock, nobody = free_port(), free_port(), free_port()
    platform.env["EVIDENCE_SOURCES"] = f"main=inbox+smtp://127.0.0.1:{nobody}"
    main = platform.env["EMAIL_PROVIDERS"]
    platform.env["EMAIL_PROVIDERS"] = f"{main}?then=backup,backup=smtp://127.0.0.1:{nobody}"
    platform.start_worker("--metrics-port", str(worker))
    platform.start_scheduler("--metrics-port", str(clock))
    _, client = platform.start_api()
    platform.env["DATABASE_URL"] = f"postgres://nobody@127.0.0.1:{nobody}/nothing"
    _, without_postgres = platform.start_api()
    clients = [client, without_postgres]
    watched = Watched({"worker": [worker], "scheduler": [clock], "api": [each.base_url.port for each in clients]})

    smtp.once("dot", THROW_AWAY_AND_DROP)
    platform.until_status("unknown", platform.accept("unknown@example.com"))
    smtp.rcpt_answers |= {"gone@example.com": "550 5.1.1 No such user", "later@example.com": "450 4.2.0 Later"}
    refused, deferred = platform.accept("gone@example.com"), platform.accept("later@example.com")
    platform.until(lambda: metric(watched.text("worker"), "job_retries_total") >= 1)
    smtp.rcpt_answers.pop("later@example.com")
    bodies = [{"email": f"ann{number}@example.com", "name": "Ann"} for number in range(20)]
    for each, body in [(client, body) for body in bodies * 2] + [(without_postgres, bodies[0])]:
        each.post("/addJob", json=body, headers={"Authorization": f"Bearer {AccessToken.for_user(owner)}"})
    platform.until_status("failed", refused)
    platform.until_status("completed", deferred)
    platform.until(lambda: metric(watched.text("worker"), "failovers_total", provider="main", to="backup"))
    platform.until(lambda: metric(watched.text("worker"), "duplicates_suppressed_total") == len(bodies))
    platform.until(lambda: metric(watched.text("scheduler"), "provider_inquiries_total", answer="no_answer"))
    return watched


def test_whatever_is_looked_at_is_told(watched):
    """By name and by every label: a query that selects nothing would show nothing, and wake nobody."""
    told = list(watched.series())
    vain = []
    for what, query in QUERIES.items():
        labels = set()
        for selector in selectors(query):
            found = [labels for name, labels in told if selector.selects(name, labels)]
            labels |= {label for each in found for label in each}
            if not found and selector.name != "ALERTS":
                vain.append(f"{what} selects nothing: {selector}")
        if missing := grouped_by(query) - labels:
            vain.append(f"{what} groups by {missing}")

    assert not vain
    assert {job["job_name"] for job in SCRAPES["scrape_configs"]} == {*watched.ports, "prometheus"}


# ── With Prometheus itself ────────────────────────────────────────────────────────────────────


@pytest.fixture
def prometheus(tmp_path, request) -> Iterator[httpx.Client]:
    """It scrapes what is watched each second, and has the rules. Skips where it is not installed."""
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus on the PATH")
    port, watched = free_port(), request.getfixturevalue("watched")
    targets = {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in watched.ports.items()}
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(PROMETHEUS / "alerts.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        *("prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/prometheus"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    server = Child("prometheus", command, log=tmp_path / "prometheus.log")
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=10) as client:
        yield client
    server.kill()


def ask(prometheus: httpx.Client, query: str) -> list[Any]:
    answer = prometheus.post("/query", data={"query": concrete(query, rate_interval="10s", range="10s")})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]


def test_prometheus_itself_finds_something_to_show_in_every_panel(platform, prometheus):
    shown = {what: query for what, query in QUERIES.items() if not what.startswith("alert ") and "ALERTS" not in query}
    platform.until(lambda: _answers(prometheus))

    def empty() -> list[str]:
        return [what for what, query in shown.items() if not ask(prometheus, query)]

    platform.until(lambda: not empty())
    for query in QUERIES.values():
        ask(prometheus, query)
    platform.until(lambda: set(_health_of_rules(prometheus)) == set(ALERTS))
    assert set(_health_of_rules(prometheus).values()) == {"ok"}


def _answers(prometheus: httpx.Client) -> bool:
    try:
        return prometheus.get("/query", params={"query": "up"}).status_code == 200
    except httpx.TransportError:
        return False


def _health_of_rules(prometheus: httpx.Client) -> dict[str, str]:
    """Of those that were evaluated."""
    groups = prometheus.get("/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule["name"]: rule["health"] for rule in rules if rule["health"] != "unknown"}
