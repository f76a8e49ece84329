"""EMAIL_PROVIDERS, read and refused."""

from __future__ import annotations

import ssl

import pytest
import trustme
from django.core.exceptions import ImproperlyConfigured

from jobs.rates import Rate
from workers.providers import Endpoint, endpoints, may_send_credentials, parse, stand_ins


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mx.example.com", Endpoint("main", "mx.example.com", 25)),
        ("smtp://127.0.0.1:1025", Endpoint("main", "127.0.0.1", 1025)),
        ("smtp://[::1]:1025/", Endpoint("main", "::1", 1025)),
        ("smtp+tls://mx.example.com", Endpoint("main", "mx.example.com", 587, "starttls")),
        ("smtps://MX.example.com", Endpoint("main", "mx.example.com", 465, "tls")),
        (
            "smtps://user%40example.com:p%40s%3As%2F%23@mx.example.com:4650?ca=/etc/ca.pem",
            Endpoint("main", "mx.example.com", 4650, "tls", "user@example.com", "p@s:s/#", "/etc/ca.pem"),
        ),
        ("smtp://mx.example.com?connections=5", Endpoint("main", "mx.example.com", 25, connections=5)),
        (
            "smtp://mx.example.com?rate=14/s;50000/d&then=backup",
            Endpoint("main", "mx.example.com", 25, rates=(Rate(14, 1), Rate(50_000, 86_400)), then="backup"),
        ),
        (
            "smtp://mx.example.com?connections=100&ca=/etc/ca.pem",
            Endpoint("main", "mx.example.com", 25, ca_file="/etc/ca.pem", connections=100),
        ),
    ],
)
def test_a_url_becomes_an_endpoint(url, expected):
    assert parse("main", url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mx.example.com",
        "http://u:secret@mx.example.com",
        "smtp://",
        "smtp://u:secret@",
        "smtp://mx.example.com:0",
        "smtp://mx.example.com:99999",
        "smtp://u:secret@mx.example.com:port",
        "smtp://u:sec:ret@mx:secret",
        "smtp://secret@mx.example.com",
        "smtp://:secret@mx.example.com",
        "smtps://u:a/secret@mx.example.com",
        "smtps://u:a#secret@mx.example.com",
        "smtps://u:a?secret@mx.example.com",
        "smtps://u:%00secret@mx.example.com",
        "smtps://u:secret@mx.example.com?verify=no",
        "smtps://u:secret@mx.example.com?ca=",
        "smtps://u:secret@mx.example.com?connections=",
        "smtps://u:secret@mx.example.com?connections=0",
        "smtps://u:secret@mx.example.com?connections=many",
        "smtps://u:secret@mx.example.com?connections=5&connections=6",
        "smtps://u:secret@mx.example.com?rate=",
        "smtps://u:secret@mx.example.com?rate=fast",
        "smtps://u:secret@mx.example.com?rate=14/s&rate=15/s",
        "smtps://u:secret@mx.example.com?then=",
        "smtps://u:secret@[::1",
    ],
)
def test_a_bad_url_is_refused_with_the_alias_and_without_the_password(url):
    with pytest.raises(ImproperlyConfigured) as caught:
        parse("backup", url)

    assert "'backup'" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("alias", ["", "a b", "-a", "a/b", "x" * 64])
def test_an_alias_is_a_word(alias):
    with pytest.raises(ImproperlyConfigured, match="alias"):
        parse(alias, "smtp://mx.example.com")


def test_the_first_provider_is_the_first_of_the_endpoints():
    found = endpoints({"b": "smtp://b.example.com", "a": "smtp://a.example.com"})

    assert list(found) == ["b", "a"]
    with pytest.raises(ImproperlyConfigured, match="EMAIL_PROVIDERS is empty"):
        endpoints({})


def test_providers_stand_in_for_each_other_in_a_row():
    found = endpoints({"a": "smtp://a.example?then=b", "b": "smtp://b.example?then=c", "c": "smtp://c.example"})

    assert [endpoint.alias for endpoint in stand_ins("a", found)] == ["a", "b", "c"]
    assert [endpoint.alias for endpoint in stand_ins("c", found)] == ["c"]


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ({"a": "nobody"}, "'a'.*then=nobody is no alias of EMAIL_PROVIDERS; it has a, b"),
        ({"a": "a"}, "'a'.*then=a leads back"),
        ({"a": "b", "b": "a"}, "'b'.*then=a leads back"),
    ],
)
def test_a_row_that_leads_nowhere_or_in_a_circle_refuses_to_start(then, told):
    urls = {alias: f"smtp://{alias}.example" + (f"?then={then[alias]}" if alias in then else "") for alias in "ab"}

    with pytest.raises(ImproperlyConfigured, match=told):
        endpoints(urls)


def test_the_password_shows_in_no_repr():
    endpoint = parse("main", "smtps://user:hunter2@mx.example.com")

    assert endpoint.password == "hunter2"
    assert "hunter2" not in repr(endpoint)


@pytest.mark.parametrize(
    ("encrypted", "peer", "allowed"),
    [
        (True, "203.0.113.5", True),
        (False, "203.0.113.5", False),
        (False, "10.0.0.1", False),
        (False, "2001:db8::1", False),
        (False, "", False),
        (False, "127.0.0.1", True),
        (False, "127.8.8.8", True),
        (False, "::1", True),
    ],
)
def test_credentials_travel_encrypted_or_not_beyond_this_machine(encrypted, peer, allowed):
    assert may_send_credentials(encrypted=encrypted, peer=peer) is allowed


@pytest.mark.parametrize(
    ("url", "verifies"),
    [
        ("smtps://mx.example.com", True),
        ("smtp+tls://mx.example.com", True),
        ("smtp://mx.example.com", False),
        ("smtp://u:p@mx.example.com", True),
        ("smtp://u:p@localhost", False),
        ("smtp://u:p@127.0.0.1", False),
    ],
)
def test_a_certificate_is_checked_where_it_protects_something(url, verifies):
    context = parse("main", url).tls_context()

    assert (context.verify_mode == ssl.CERT_REQUIRED) is verifies
    assert context.check_hostname is verifies


def test_a_private_authority_is_trusted_and_a_missing_file_is_told(tmp_path):
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    assert parse("main", f"smtp://mx.example.com?ca={ca_file}").tls_context().verify_mode == ssl.CERT_REQUIRED

    for bad in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(ImproperlyConfigured, match="CA file"):
            parse("main", f"smtps://mx.example.com?ca={bad}").tls_context()

    ca_file.write_text("no certificate")
    with pytest.raises(ImproperlyConfigured, match="CA file"):
        parse("main", f"smtps://mx.example.com?ca={ca_file}").tls_context()
