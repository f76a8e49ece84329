"""The way to somebody else's address, which may be meant to lead to our own network.

A name is looked up here, its addresses are looked at, and it is one of these that is connected to: a name server that
answers otherwise the next time changes nothing (DNS rebinding). TLS still asks for the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from jobs import networks


class AddressRefused(httpcore.ConnectError):
    """Where it leads is not for others to reach through us."""


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """httpcore's way to connect, to addresses that `may_be_reached`."""

    def __init__(self, may_be_reached: Callable[[str], bool] = networks.may_be_reached) -> None:
        self._may_be_reached = may_be_reached
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused, httpcore.ConnectError and httpcore.ConnectTimeout."""
        found = await _look_up(host, port, timeout)
        addresses = [address for address in found if self._may_be_reached(address)]
        if not addresses:
            raise AddressRefused(
                f"{host} leads to {found[0]}, which is not public. Have its network put into REACHABLE_NETWORKS."
            )
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _look_up(host: str, port: int, timeout: float | None) -> list[str]:
    """Its addresses, in the order of preference."""
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise httpcore.ConnectTimeout(f"No name server said where {host} is.") from None
    except OSError as error:
        raise httpcore.ConnectError(f"{host} cannot be found: {error.strerror or error}.") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
