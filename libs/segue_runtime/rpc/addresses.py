"""Addresses to listen on, and which of them may be reached from outside this machine."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_runtime.settings import ServerSettings

UNIX = "unix:"
# sockaddr_un holds 108 bytes on Linux, 104 on macOS.
MAX_UNIX_BYTES = 103


class ListenError(Exception):
    """An address that cannot be listened on; the text says what to do."""


class AddressRefused(ListenError):  # noqa: N818 - as in the error tree
    """The system does not give us an address: somebody has it, or it is not this machine's."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot listen on {address}")
        self.address = address


def is_unix(address: str) -> bool:
    """Tell whether address is a Unix socket."""
    return address.startswith(UNIX)


def host_of(address: str) -> str:
    """Return the host of HOST:PORT."""
    return address.removeprefix("dns:///").rpartition(":")[0].strip("[]")


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach address; a name other than localhost counts as outside."""
    if is_unix(address):
        return True
    host = host_of(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listen(address: str, settings: ServerSettings) -> None:
    """Refuse what would open the house to strangers, or what the system would cut short."""
    if is_unix(address):
        path = Path(address.removeprefix(UNIX))
        if len(str(path).encode()) > MAX_UNIX_BYTES:
            raise ListenError(f"{path}: a Unix socket's path has at most {MAX_UNIX_BYTES} bytes; choose a shorter one")
        return
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ListenError("server.tls_cert and server.tls_key belong together; one of them is missing")
    if settings.tls_client_ca and not settings.tls_cert:
        raise ListenError("server.tls_client_ca needs server.tls_cert and server.tls_key")
    known_callers = bool(settings.token) or bool(settings.tls_client_ca)
    if not is_loopback(address) and not settings.insecure and not (settings.tls_cert and known_callers):
        raise ListenError(
            f"{address} can be reached from outside and would be open to everybody; set server.tls_cert, "
            "server.tls_key and server.token, listen on 127.0.0.1, or say --insecure on a closed network"
        )
