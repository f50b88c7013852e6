"""Where the renderers of a setting are: every host behind a name is one."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

from segue_runtime.rpc.addresses import host_of, is_unix

RESOLVE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of one renderer, and the name in its certificate if it was found by a name."""

    address: str
    server_name: str = ""


async def resolve(address: str) -> list[Endpoint]:
    """Return the renderers at HOST:PORT, dns:///HOST:PORT or unix:PATH. Raises OSError if the name has no host."""
    if is_unix(address):
        return [Endpoint(address)]
    host, port = host_of(address), address.rpartition(":")[2]
    if _is_number(host):
        return [Endpoint(address.removeprefix("dns:///"))]
    async with asyncio.timeout(RESOLVE_TIMEOUT_S):
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    numbers = dict.fromkeys(str(place[0]) for _, _, _, _, place in found)
    return [Endpoint(f"[{each}]:{port}" if ":" in each else f"{each}:{port}", host) for each in numbers]


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
