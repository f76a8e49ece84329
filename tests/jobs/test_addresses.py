"""What is an address, and how it looks on an envelope."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs import addresses
from jobs.addresses import Address


@pytest.mark.parametrize(
    ("text", "name", "spec"),
    [
        ("ann@example.org", "", "ann@example.org"),
        ("  ann@example.org ", "", "ann@example.org"),
        ("Ann@EXAMPLE.org", "", "Ann@example.org"),
        ("<ann@example.org>", "", "ann@example.org"),
        ("Ann Smith <ann@example.org>", "Ann Smith", "ann@example.org"),
        ("Ann   Smith<ann@example.org>", "Ann Smith", "ann@example.org"),
        ('"Smith, Ann" <ann@example.org>', "Smith, Ann", "ann@example.org"),
        (r'"Ann \"Ace\" S\\" <ann@example.org>', 'Ann "Ace" S\\', "ann@example.org"),
        ("Dr. Ann O'Hara (Sales) <ann@example.org>", "Dr. Ann O'Hara (Sales)", "ann@example.org"),
        ("Jörg <j@MÜNCHEN.de>", "Jörg", "j@xn--mnchen-3ya.de"),
        ("ann+tag@mail.test", "", "ann+tag@mail.test"),
        ("jörg@example.org", "", "jörg@example.org"),
    ],
)
def test_an_address_is_read_with_or_without_a_name(text, name, spec):
    address = addresses.parse(text)

    assert (address.name, address.spec) == (name, spec)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("ann", "Write it as ann@example.org"),
        ("ann@localhost", "Write it as"),
        ("@example.org", "Write it as"),
        ("ann@@example.org", "Write it as"),
        ("ann@exa mple.org", "Write it as"),
        ("ann@example.org, bob@example.org", "Give a list"),
        ("ann@example.org; bob@example.org", "Give a list"),
        ("Smith, Ann <ann@example.org>", "double quotes"),
        ("bob@example.org, Ann <ann@example.org>", "Several addresses go into a list"),
        ("Ann <ann@example.org> <bob@example.org>", "double quotes"),
        ("Ann <ann@example.org>\r\nBcc: eve@example.org", "control character"),
        ("Ann\n<ann@example.org>", "control character"),
        ("ann@example.org\0", "control character"),
        ("Ann\u2028 <ann@example.org>", "control character"),
        ("\ud800 <ann@example.org>", "surrogate"),
        ("n" * 201 + " <ann@example.org>", "Shorten"),
        ("a" * 255 + "@example.org", "Write it as"),
        (" " * 500_000, "too many"),
    ],
)
def test_what_is_no_address_is_refused_with_a_remedy(text, remedy):
    with pytest.raises(ValueError, match=remedy):
        addresses.parse(text)


@given(st.text())
def test_any_text_is_either_an_address_on_one_line_or_refused(text):
    try:
        address = addresses.parse(text)
    except ValueError:
        return

    assert addresses.CONTROL.search(address.name + address.spec) is None
    assert address.domain.isascii()
    assert addresses.parse(address.spec).spec == address.spec


def test_only_a_local_part_beyond_ascii_needs_smtputf8():
    assert addresses.parse("jörg@example.org").needs_smtputf8
    assert not addresses.parse("Jörg <j@münchen.de>").needs_smtputf8


def test_the_default_sender_may_always_send(settings):
    settings.DEFAULT_FROM_EMAIL = "Post <post@example.org>"

    assert addresses.may_send(addresses.parse("Anyone <post@EXAMPLE.org>"), ())
    assert not addresses.may_send(addresses.parse("other@example.org"), ())


@pytest.mark.parametrize(
    ("sender", "is_allowed"),
    [
        ("ann@example.org", True),
        ("ann@EXAMPLE.ORG", True),
        ("bob@example.org", False),
        ("bob@münchen.de", True),
        ("bob@xn--mnchen-3ya.de", True),
        ("bob@mail.münchen.de", False),
    ],
)
def test_senders_are_allowed_by_address_or_by_domain(sender, is_allowed):
    allowed = ("ann@Example.org", "@MÜNCHEN.de")

    assert addresses.may_send(addresses.parse(sender), allowed) is is_allowed


def test_a_misconfigured_sender_is_the_operators_error_and_says_which(settings):
    settings.DEFAULT_FROM_EMAIL = "nobody"

    with pytest.raises(ImproperlyConfigured, match="DEFAULT_FROM_EMAIL 'nobody' is not an email address"):
        addresses.default_sender()

    settings.DEFAULT_FROM_EMAIL = "post@example.org"
    with pytest.raises(ImproperlyConfigured, match="ALLOWED_SENDERS"):
        addresses.may_send(Address(name="", local="a", domain="example.org"), ("@",))


# ── The short way is the library's ────────────────────────────────────────────────────────────

LOCAL = st.text("abz09._+-", min_size=1, max_size=70)
LABEL = st.text("abzAZ09-", min_size=1, max_size=66)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join) | st.sampled_from(
    ["example.org", "EXAMPLE.org", "x.local", "localhost", "a.test", "xn--bcher-kva.example", "ab--cd.org", "x.invalid"]
)


@settings(max_examples=1000)
@given(local=LOCAL, domain=DOMAIN)
@example(local="a" * 64, domain=".".join(["b" * 61] * 3) + ".org")
@example(local="a" * 65, domain="example.org")
@example(local="postmaster", domain="example.org")
@example(local=".a", domain="example.org")
def test_ordinary_addresses_are_judged_as_by_the_library(local, domain):
    spec = f"{local}@{domain}"

    assert _verdict(lambda: addresses.parse(spec)) == _verdict(lambda: Address("", *addresses._judged(spec)))


def _verdict(judge):
    try:
        return judge()
    except ValueError as error:
        return str(error).split(":")[0]
