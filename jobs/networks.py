"""Which addresses somebody else may have us connect to: public ones, and those of REACHABLE_NETWORKS."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from jobs.conf import tunables

_TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


def may_be_reached(address: str) -> bool:
    """Whether an IP address, as text, is public or of a network that this installation opens."""
    ip = ip_address(address.partition("%")[0])  # a zone is the machine's own affair
    return is_opened(address) or _is_public(ip)


def is_opened(address: str) -> bool:
    """Whether this installation opens its network, though it may be private."""
    ip = _meant(ip_address(address.partition("%")[0]))
    return any(ip in network for network in tunables().reachable_networks)


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    meant = _meant(ip)
    return meant.is_global and not meant.is_multicast


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that is written within an IPv6 one: mapped, translated, or where a tunnel ends."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    tunnel = ip.teredo[1] if ip.teredo else None
    return ip.ipv4_mapped or ip.sixtofour or tunnel or ip
