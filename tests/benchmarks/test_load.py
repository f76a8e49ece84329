"""Load scripts: what they post, when, and what they make of the answers."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.load.report import Run, lines, percentiles
from benchmarks.load.scenarios import SCENARIOS
from jobs import requests
from tests.conftest import add_types


def job(status: str, *, seconds: float = 1.0) -> dict[str, str]:
    return {
        "status": status,
        "created_at": "2026-11-28T05:00:00Z",
        "updated_at": f"2026-11-28T05:00:{seconds:09.6f}Z",
    }


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_what_is_posted_is_what_the_api_takes(name, monkeypatch):
    add_types(monkeypatch, "scheduler.embedded.demo.job_types")
    scenario = SCENARIOS[name]
    bodies = [scenario.body(number) for number in range(3)]
    jobs = [each for body in bodies for each in (body["jobs"] if scenario.bulk else [body])]

    assert len({msgspec.json.encode(each) for each in jobs}) == len(jobs) or name == "failing"
    for each in jobs:
        requests.read(each)


def test_a_burst_is_silent_in_between():
    burst = SCENARIOS["burst"]

    assert [burst.pause(seconds) for seconds in (0, 2.9, 3, 8, 9.5, 10, 12.9, 13)] == [0, 0, 7, 2, 0.5, 0, 0, 7]
    assert SCENARIOS["steady"].pause(5.0) == 0


def test_percentiles_lie_between_neighbours():
    assert percentiles(range(101)) == {50: 50.0, 95: 95.0, 99: 99.0}
    assert percentiles([3.0]) == {50: 3.0, 95: 3.0, 99: 3.0}
    assert percentiles([]) == {50: None, 95: None, 99: None}


def test_a_run_tells_rates_errors_and_endings():
    run = Run("steady", seconds=2.0, took=[0.01] * 9 + [0.02])
    run.errors.update({"429": 1, "ConnectionError": 2})
    run.accepted = [str(number) for number in range(9)]
    run.ended = {str(n): job("completed", seconds=n) for n in range(1, 5)} | {"5": job("failed", seconds=9)}

    told = run.told()

    assert (told["requests"], told["error_rate"]) == (12, 3 / 12)
    assert told["request_ms"]["p50"] == 10.0
    assert (told["accepted"], told["accepted_per_second"]) == (9, 4.5)
    assert (told["ended"], told["still_under_way"]) == ({"completed": 4, "failed": 1}, 4)
    assert told["completed_per_second"] == 1.0
    assert told["accepted_to_ended_ms"]["p50"] == 3000.0


def test_a_run_without_any_answer_tells_nothing_it_does_not_know():
    told = Run("steady").told()

    assert told["error_rate"] is told["completed_per_second"] is told["request_ms"]["p99"] is None
    assert "–" in "\n".join(lines(told))
