"""What is told of providers: each from the start; and that a circuit is closed, also by those who do nothing."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from jobs import throttles
from jobs.errors import Unanswered
from tests.workers.conftest import routes
from workers import circuit_breaker
from workers.channels.base import Route
from workers.providers import endpoints
from workers.routes import Routes, tell_of_providers

NAME = "seen"
ROUTE = Route("email", NAME)


def told(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def one(bell, monkeypatch) -> Routes:
    """A worker that knows of an open circuit, which may be tried now."""
    monkeypatch.setattr(circuit_breaker, "REFRESH_SECONDS", 0.0)
    bell.hset(f"sendonce:circuit:{ROUTE.key}", "until", 1)
    one = routes()
    one.worked(ROUTE)
    one.refresh()
    assert told("provider_circuit_open", provider=NAME) == 1
    return one


def test_each_provider_is_told_of_before_anything_has_happened_to_it(tunables):
    here = "smtp://127.0.0.1:1"
    tunables(email_providers={"seen-a": f"{here}?then=seen-b", "seen-b": f"{here}?then=seen-c", "seen-c": here})

    tell_of_providers(endpoints())

    assert [told("provider_circuit_open", provider=f"seen-{each}") for each in "abc"] == [0, 0, 0]
    steps = [("a", "b"), ("a", "c"), ("b", "c")]
    assert [told("failovers_total", provider=f"seen-{a}", to=f"seen-{b}") for a, b in steps] == [0, 0, 0]
    assert told("failovers_total", provider="seen-c", to="seen-a") is None


def test_reasons_and_channels_are_told_of_from_the_start():
    reasons = ("circuit_open", "provider_rate", "domain_rate", "owner_rate")

    assert None not in [told("jobs_postponed_total", reason=reason) for reason in reasons]
    assert None not in [told("circuits_opened_total", channel=each) for each in ("email", "webhook", "notification")]


def test_a_worker_that_has_nothing_to_do_tells_the_end_of_an_open_circuit(one):
    assert throttles.close(ROUTE.key)  # by another worker
    one.refresh()

    assert told("provider_circuit_open", provider=NAME) == 0


def test_a_trial_that_nobody_answered_is_over_for_him_who_tried(one):
    """Else he would go on telling that it is open, and never ask again."""

    async def try_it() -> None:
        assert await one.why_not(ROUTE) is None
        await one.failed(ROUTE, Unanswered(kind="smtp_closed"), marked=True)

    asyncio.run(try_it())
    assert throttles.close(ROUTE.key)  # by another worker
    one.refresh()

    assert told("provider_circuit_open", provider=NAME) == 0
