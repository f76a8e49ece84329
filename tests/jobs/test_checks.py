from dataclasses import replace

import pytest

from jobs import checks
from jobs.conf import tunables


def found(monkeypatch, **values):
    conf = replace(tunables(), **values)
    monkeypatch.setattr(checks, "tunables", lambda: conf)
    messages = checks.check_settings(None)
    assert all(message.hint for message in messages)
    return {message.id for message in messages}


def test_the_defaults_have_nothing_to_complain_about(monkeypatch):
    assert found(monkeypatch) == set()


@pytest.mark.parametrize(
    ("values", "id"),
    [
        ({"lease_seconds": 0}, "sendonce.E001"),
        ({"heartbeat_seconds": -1}, "sendonce.E001"),
        ({"max_attempts": 0}, "sendonce.E001"),
        ({"lease_seconds": float("nan")}, "sendonce.E001"),
        ({"retry_jitter": 1}, "sendonce.E002"),
        ({"retry_jitter": -0.1}, "sendonce.E002"),
        ({"retry_cap_seconds": 0.5}, "sendonce.E003"),
        ({"drain_seconds": -1}, "sendonce.E004"),
        ({"heartbeat_seconds": 15}, "sendonce.E005"),
        ({"max_body_bytes": 11 * 1024 * 1024}, "sendonce.E006"),
        ({"email_providers": {}}, "sendonce.E007"),
        ({"allowed_senders": ("nobody",)}, "sendonce.E010"),
        ({"redis_url": "http://127.0.0.1:6379/0"}, "sendonce.E011"),
        ({"redis_url": "redis+sentinel://127.0.0.1:26379"}, "sendonce.E011"),
        ({"on_unknown": {"fax": "hold"}}, "sendonce.E012"),
        ({"on_unknown": {"email": "retry"}}, "sendonce.E012"),
        ({"evidence_sources": {"nobody": "inbox+smtp://127.0.0.1:1025"}}, "sendonce.E013"),
        ({"type_providers": {"fax": "local"}}, "sendonce.E020"),
        ({"type_providers": {"webhook": "local"}}, "sendonce.E020"),
        ({"type_providers": {"welcome_email": "nobody"}}, "sendonce.E020"),
        ({"event_secrets": ("0123456789abcdef",)}, "sendonce.E021"),
        ({"event_secrets": (":0123456789abcdef",)}, "sendonce.E021"),
        ({"event_secrets": ("events:0123456789abcdef", "events:short")}, "sendonce.E021"),
        ({"event_keys": {"MAILGUN_WEBHOOK_SIGNING_KEY": "k"}}, "sendonce.W020"),
        ({"public_url": "http://mail.example.org"}, "sendonce.E014"),
        ({"public_url": "mail.example.org"}, "sendonce.E014"),
        ({"public_url": "https://"}, "sendonce.E014"),
        ({"public_url": "https://mail.example.org:port"}, "sendonce.E014"),
        ({"public_url": "https://mail.example.org/?a=1"}, "sendonce.E014"),
        ({"public_url": "https://user:pw@mail.example.org/"}, "sendonce.E014"),
        ({"public_url": "https://mail.example.org/ x"}, "sendonce.E014"),
        ({"public_url": f"https://mail.example.org/{'x' * 200}"}, "sendonce.E014"),
        ({"public_url": "https://elsewhere.example.org"}, "sendonce.W005"),
        ({"dot_timeout_seconds": 60}, "sendonce.W001"),
        ({"lease_seconds": 2, "heartbeat_seconds": 0.5}, "sendonce.W004"),
    ],
)
def test_nonsense_is_named(monkeypatch, values, id):
    assert id in found(monkeypatch, **values)


def test_a_source_whose_alias_was_forgotten_is_not_shown(monkeypatch):
    conf = replace(tunables(), evidence_sources={"mailgun+https://api:secret@host/v3/d?x": ""})
    monkeypatch.setattr(checks, "tunables", lambda: conf)

    (message,) = checks.check_settings(None)

    assert "secret" not in str(message)
    assert "EVIDENCE_SOURCES" in str(message)


def test_types_may_have_providers_and_services_secrets(monkeypatch):
    right = {"type_providers": {"welcome_email": "local"}, "event_secrets": ("events:0123456789abcdef",)}

    assert found(monkeypatch, **right, event_keys={"MAILGUN_WEBHOOK_SIGNING_KEY": "k"}) == set()


def test_a_secret_that_is_too_short_is_not_shown(monkeypatch):
    conf = replace(tunables(), event_secrets=("events:hunter2",))
    monkeypatch.setattr(checks, "tunables", lambda: conf)

    (message,) = checks.check_settings(None)

    assert "hunter2" not in str(message)


@pytest.mark.parametrize(("url", "debug"), [("https://mail.example.org/post", False), ("http://localhost:8000", True)])
def test_an_address_that_readers_reach_is_as_it_should_be(monkeypatch, settings, url, debug):
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, ["mail.example.org", "localhost"]

    assert found(monkeypatch, public_url=url) == set()


@pytest.mark.parametrize(("debug", "ids"), [(False, {"sendonce.E008"}), (True, set())])
def test_a_short_key_may_sign_tokens_only_while_developing(monkeypatch, settings, debug, ids):
    settings.DEBUG = debug
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"SIGNING_KEY": "k" * 31}

    assert found(monkeypatch) == ids


def test_doubtful_openness_warns(monkeypatch, settings):
    settings.ALLOWED_HOSTS = ["*"]
    settings.SENDONCE = settings.SENDONCE | {"signup_open": True}

    assert found(monkeypatch) == {"sendonce.W002", "sendonce.W003"}
