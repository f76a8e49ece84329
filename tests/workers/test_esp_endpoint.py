"""Email services in EMAIL_PROVIDERS: what is understood, and what is told of the rest without showing a secret."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobs.conf import tunables
from jobs.rates import Rate
from workers import esp_endpoint
from workers.channels.email import EmailChannel
from workers.esp_endpoint import EspEndpoint
from workers.providers import Endpoint, endpoints, parse

SECRET = "s3cr3t-t0ken"


def test_an_alias_names_a_service_and_its_parameters():
    found = parse("mg", "anymail+mailgun://?api_key=a%26b+c&sender_domain=mg.example.org&connections=5")

    assert found == EspEndpoint("mg", "mailgun", {"api_key": "a&b+c", "sender_domain": "mg.example.org"}, 5)


def test_flags_are_flags_and_the_connections_are_as_with_smtp():
    found = parse("pm", f"anymail+postmark:///?server_token={SECRET}&use_bulk_api=false")

    assert isinstance(found, EspEndpoint)
    assert (found.parameters["use_bulk_api"], found.connections) == (False, 64)


def test_limits_and_stand_ins_are_as_with_smtp():
    url = f"anymail+postmark://?server_token={SECRET}&rate=14/s;50000/d&then=main"
    found = endpoints({"pm": url, "main": "smtp://mx.example.org"})

    assert (found["pm"].rates, found["pm"].then) == ((Rate(14, 1), Rate(50_000, 86_400)), "main")
    assert found["pm"].parameters == {"server_token": SECRET}
    with pytest.raises(ImproperlyConfigured, match="rate: 'fast' is no rate"):
        parse("pm", f"anymail+postmark://?server_token={SECRET}&rate=fast")
    with pytest.raises(ImproperlyConfigured, match="then=main is no alias"):
        endpoints({"pm": url})


def test_services_and_relays_stand_side_by_side():
    found = endpoints({"main": "smtp://mx.example.org", "pm": f"anymail+postmark://?server_token={SECRET}"})

    assert [type(endpoint) for endpoint in found.values()] == [Endpoint, EspEndpoint]


def test_a_service_whose_name_has_an_underscore_is_written_with_either():
    for name in ("unisender-go", "unisender_go"):
        found = parse("ug", f"anymail+{name}://?api_key={SECRET}&api_url=https://go1.unisender.ru/")
        assert isinstance(found, EspEndpoint)
        assert found.esp == "unisender_go"


def test_no_repr_shows_a_secret():
    assert SECRET not in repr(parse("pm", f"anymail+postmark://?server_token={SECRET}"))


def test_the_services_are_anymails():
    assert {"brevo", "mailgun", "postmark", "resend", "sendgrid"} <= set(esp_endpoint.services())
    assert not {"base", "console", "test", "amazon_ses"} & set(esp_endpoint.services())


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (f"anymail+postmrk://?server_token={SECRET}", "no such email service. Known: brevo, .*postmark"),
        (f"anymail+{SECRET}", "no such email service"),
        (f"anymail+console://?api_key={SECRET}", "no such email service"),
        (f"anymail+amazon_ses://?key={SECRET}", "SMTP interface"),
        ("anymail+postmark", "come . and parameters"),
        (f"anymail+postmark://{SECRET}", "come . and parameters"),
        (f"anymail+postmark://api.postmarkapp.com?server_token={SECRET}", "come . and parameters"),
        ("anymail+postmark://?", "name=value"),
        ("anymail+postmark://?server_token=", "name=value"),
        (f"anymail+postmark://?{SECRET}", "name=value"),
        (f"anymail+postmark://?server_token=a&server_token={SECRET}", "name=value"),
        (f"anymail+postmark://?server_token={SECRET}&debug_api_requests=true", "debug_api_requests is not for here"),
        (f"anymail+postmark://?server_token={SECRET}&timeout=3", "timeout is not for here"),
        (f"anymail+postmark://?server_token={SECRET}&connections=0", "connections is a number"),
        (f"anymail+postmark://?server_token={SECRET}&api_url=http://api.example.org", "api_url must start with https"),
        (f"anymail+postmark://?server_token={SECRET}&api_url=api.example.org", "api_url must start with https"),
        (f"anymail+postmark://?server_token={SECRET}&api_url=https://[", "cannot be read"),
        (f"anymail+postmark://?server_token={SECRET}&api_url=true", "api_url must start with https"),
        (f"anymail+postmark://?server_token=a&connections={SECRET}", "connections is a number"),
    ],
)
def test_what_cannot_be_read_is_told_without_the_value(url, remedy):
    with pytest.raises(ImproperlyConfigured, match=rf"EMAIL_PROVIDERS: 'pm': .*{remedy}") as caught:
        parse("pm", url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("anymail+mailgun://?sender_domain=mg.example.org", "the parameter api_key is missing"),
        (f"anymail+postmark://?api_key={SECRET}", "the parameter server_token is missing"),
        (f"anymail+postmark://?server_token={SECRET}&stream=x&color={SECRET}", "postmark takes no color, stream"),
        (f"anymail+postmark://?server_token={SECRET}&idna_encoder={SECRET}", "one of the parameters cannot be used"),
    ],
)
def test_what_the_service_does_not_take_is_told_when_a_worker_starts(url, remedy):
    with pytest.raises(ImproperlyConfigured, match=rf"EMAIL_PROVIDERS: 'pm': {remedy}") as caught:
        EmailChannel(endpoints({"pm": url}), tunables())

    assert SECRET not in str(caught.value)


@pytest.mark.filterwarnings("ignore::anymail.exceptions.AnymailNotSupportedWarning")
@pytest.mark.parametrize("service", esp_endpoint.services())
def test_every_service_of_anymail_says_what_it_misses(service):
    """All of them load, and none is content with a parameter that it does not know."""
    with pytest.raises(ImproperlyConfigured, match=r"is missing|takes no nonsense"):
        EmailChannel(endpoints({"any": f"anymail+{service}://?nonsense=1"}), tunables())
