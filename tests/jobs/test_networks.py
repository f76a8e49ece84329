"""Which addresses others may have us connect to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from jobs import networks


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_public_ones(address):
    assert networks.may_be_reached(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.7", "172.16.5.5", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.7", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo, of 127.0.0.1
    ],
)
def test_none_that_are_private_link_local_or_our_own(address):
    assert not networks.may_be_reached(address)


def test_a_network_that_was_opened_may_be_reached_and_its_neighbours_not(tunables):
    tunables(reachable_networks=(ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")))

    reached = {a: networks.may_be_reached(a) for a in ("10.1.2.3", "10.2.0.1", "::ffff:10.1.2.3", "fd00:1::5", "::1")}

    assert reached == {"10.1.2.3": True, "10.2.0.1": False, "::ffff:10.1.2.3": True, "fd00:1::5": True, "::1": False}
    assert networks.may_be_reached("93.184.216.34")
    assert not networks.is_opened("93.184.216.34")
