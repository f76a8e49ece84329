"""Who takes tokens from which buckets, and who has to wait."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

from jobs import throttles
from jobs.claims import Claim
from jobs.conf import tunables as conf
from jobs.rates import parse
from scheduler.env import Environment
from tests.workers.test_settlement import claim as a_claim
from workers import rate_limit
from workers.channels.base import Route
from workers.providers import endpoints
from workers.rate_limit import Limits

pytestmark = [pytest.mark.usefixtures("no_thread_stays", "bell"), pytest.mark.django_db]

TWO = parse("2/h")  # so slow that no token comes back during a test


def email(*to: str, provider: str | None = None, owner_id: int = 1, type: str = "email") -> Claim:
    payload = {"to": list(to or ("ann@example.org",)), "subject": "Hello", "text": "Hello."}
    return a_claim(type=type, payload=payload, provider=provider, owner_id=owner_id, token=next(_tokens))


_tokens = iter(range(1, 10_000))


def lacking(limits: Limits, *claims: Claim) -> list[str]:
    """What each of them waits for."""
    turns = limits.turns(claims)
    assert all(turn.wait_seconds > 0 for turn in turns.values())
    return [turns[claim.token].lacks if claim.token in turns else "" for claim in claims]


def the_limits(tunables, providers="main=smtp://127.0.0.1:25,backup=smtp://127.0.0.1:26", **rates) -> Limits:
    urls = dict(one.split("=", 1) for one in providers.split(","))
    return Limits(endpoints(urls), tunables(email_providers=urls, **rates))


def test_where_there_are_none_nobody_is_asked(tunables, monkeypatch):
    monkeypatch.setattr(throttles, "take", None)

    assert the_limits(tunables).turns([email(), email()]) == {}
    assert asyncio.run(the_limits(tunables).wait_seconds(Route("email", "main"))) == 0


def test_a_provider_is_given_so_much_whoever_names_it(tunables):
    limits = the_limits(tunables, "main=smtp://127.0.0.1:25?rate=2/h,backup=smtp://127.0.0.1:26")

    assert lacking(limits, email(), email(provider="main"), email()) == ["", "", "provider:main"]
    assert lacking(limits, email(provider="backup")) == [""]
    other_worker = the_limits(tunables, "main=smtp://127.0.0.1:25?rate=2/h")
    assert lacking(other_worker, email(owner_id=2)) == ["provider:main"]


def test_no_tokens_are_taken_of_a_provider_that_will_not_be_called(tunables):
    limits = the_limits(tunables, "main=smtp://127.0.0.1:25?rate=2/h")

    assert limits.turns([email() for _ in range(5)], is_open=lambda key: key == "email:main") == {}
    assert lacking(limits, email(), email(), email()) == ["", "", "provider:main"]


def test_the_provider_of_a_type_is_given_what_that_type_sends(tunables):
    limits = the_limits(
        tunables,
        "main=smtp://127.0.0.1:25,backup=smtp://127.0.0.1:26?rate=1/h",
        type_providers={"welcome_email": "backup"},
    )
    welcome = [email(type="welcome_email") for _ in range(2)]

    assert lacking(limits, *welcome, email(), email(provider="backup")) == [
        "",
        "provider:backup",
        "",
        "provider:backup",
    ]


def test_a_provider_that_stands_in_has_a_limit_of_its_own(tunables):
    limits = the_limits(tunables, "main=smtp://127.0.0.1:25?then=backup,backup=smtp://127.0.0.1:26?rate=2/h")
    backup = Route("email", "backup", TWO)

    assert [asyncio.run(limits.wait_seconds(backup)) > 0 for _ in range(3)] == [False, False, True]
    assert lacking(limits, email(provider="backup")) == ["provider:backup"]


def test_a_domain_is_sent_so_much_recipient_by_recipient(tunables):
    limits = the_limits(tunables, domain_rates={"Example.org": TWO})

    assert lacking(limits, email("ann@example.org", "Bob <bob@EXAMPLE.ORG>")) == [""]
    assert lacking(limits, email("eve@example.com"), email("eve@example.org")) == ["", "domain:example.org"]


def test_each_other_domain_has_what_the_star_says(tunables):
    limits = the_limits(tunables, domain_rates={"*": parse("1/h"), "big.example": parse("2/h")})

    said = lacking(limits, *[email(f"ann@{host}") for host in ("a.example", "b.example", "a.example")])
    assert said == ["", "", "domain:a.example"]
    assert lacking(limits, *[email("ann@big.example") for _ in range(3)]) == ["", "", "domain:big.example"]


def test_a_domain_of_many_alphabets_is_one(tunables):
    limits = the_limits(tunables, domain_rates={"xn--bcher-kva.example": parse("1/h")})

    assert lacking(limits, email("ann@bücher.example"), email("bob@xn--bcher-kva.example"))[1] != ""


def test_a_user_has_so_much_done_of_whatever_type(tunables):
    ann, bob, eve = (get_user_model().objects.create_user(name) for name in ("ann", "bob", "eve"))
    limits = the_limits(tunables, owner_rates={"ann": parse("1/h"), "*": parse("2/h")})
    webhook = a_claim(type="webhook", payload={}, owner_id=ann.pk, token=next(_tokens))

    assert lacking(limits, webhook, email(owner_id=ann.pk)) == ["", f"owner:{ann.pk}"]
    assert lacking(limits, *[email(owner_id=bob.pk)] * 3)[-1] == f"owner:{bob.pk}"
    assert lacking(limits, email(owner_id=eve.pk)) == [""]


def test_whoever_is_not_named_has_no_limit_where_there_is_no_star(tunables):
    ann, bob = (get_user_model().objects.create_user(name) for name in ("ann", "bob"))
    limits = the_limits(tunables, owner_rates={"ann": parse("1/h")})

    assert lacking(limits, *[email(owner_id=bob.pk) for _ in range(5)]) == [""] * 5
    assert lacking(limits, *[email(owner_id=ann.pk) for _ in range(2)]) == ["", f"owner:{ann.pk}"]


def test_a_user_who_is_made_later_is_known_after_a_while(tunables, monkeypatch):
    limits = the_limits(tunables, owner_rates={"ann": parse("1/h")})
    limits.turns([email()])
    ann = get_user_model().objects.create_user("ann")
    assert lacking(limits, *[email(owner_id=ann.pk) for _ in range(2)]) == ["", ""]

    monkeypatch.setattr(rate_limit, "NAMES_SECONDS", 0.0)
    limits._read_names_at = 0.0

    assert lacking(limits, *[email(owner_id=ann.pk) for _ in range(2)]) == ["", f"owner:{ann.pk}"]


def test_what_cannot_be_read_takes_no_domains_tokens_and_is_refused_later(tunables):
    limits = the_limits(tunables, domain_rates={"*": parse("1/h")})
    nonsense = a_claim(type="email", payload={"to": 7}, token=next(_tokens))

    assert lacking(limits, nonsense, nonsense) == ["", ""]


def test_an_unknown_type_is_nobodys(tunables):
    limits = the_limits(tunables, "main=smtp://127.0.0.1:25?rate=1/h")
    strange = a_claim(type="strange", token=next(_tokens))

    assert lacking(limits, strange, strange) == ["", ""]


# ── What the environment says ─────────────────────────────────────────────────────────────────


def test_rates_are_read_by_name():
    read = Environment({"DOMAIN_RATES": "gmail.com=20/s;5000/h, *=50/s"}).rates("DOMAIN_RATES", help="")

    assert read == {"gmail.com": parse("20/s;5000/h"), "*": parse("50/s")}


@pytest.mark.parametrize(
    ("text", "told"),
    [("gmail.com", "has no ="), ("gmail.com=fast", r"DOMAIN_RATES: 'fast' is no rate.*14/s"), ("a=1/s;2/s", "twice")],
)
def test_a_rate_that_is_none_refuses_to_start(text, told):
    with pytest.raises(ImproperlyConfigured, match=told):
        Environment({"DOMAIN_RATES": text}).rates("DOMAIN_RATES", help="")


def test_the_default_is_no_limit(settings):
    assert (conf().domain_rates, conf().owner_rates) == ({}, {})
    assert not any(endpoint.rates for endpoint in endpoints().values())
