"""Addresses to listen on, and which of them need TLS and a token."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from segue_runtime.settings import ServerSettings

UNIX = "unix:"
# sockaddr_un has 108 bytes on Linux, 104 on macOS.
MAX_UNIX_BYTES = 103


class ListenError(Exception):
    """An address that cannot be used for listening; the text says what to do."""


class AddressRefused(ListenError):  # noqa: N818 - as in the error tree
    """The system refuses an address: it is in use, or does not belong to this machine."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot listen on {address}")
        self.address = address


def is_unix(address: str) -> bool:
    """Tell whether address is a Unix socket."""
    return address.startswith(UNIX)


def host_of(address: str) -> str:
    """Return the host of HOST:PORT."""
    return address.removeprefix("dns:///").rpartition(":")[0].strip("[]")


def peer_of(address: str) -> str:
    """Return the host of a peer as gRPC names it. Of IPv6 the network, since a caller has all addresses in it."""
    if is_unix(address):
        return "unix"
    host = unquote(address.partition(":")[2]).rpartition(":")[0].strip("[]")
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def is_local(peer: str) -> bool:
    """Tell whether a peer, as gRPC names it, is on this machine and called by a loopback address or a socket."""
    if is_unix(peer):
        return True
    try:
        found = ipaddress.ip_address(unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach an address; of host names, only localhost counts."""
    if is_unix(address):
        return True
    host = host_of(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listen(
    address: str, settings: ServerSettings, *, has_users: bool = True, has_role_tokens: bool = False
) -> None:
    """Raise ListenError for addresses that are open to strangers, or too long for the system."""
    has_user_tokens = bool(settings.token or settings.tokens_file)
    if has_user_tokens and not has_users and not (has_role_tokens or settings.signing_keys):
        raise ListenError(
            f"{address}: server.token and server.tokens_file are for users, who call a gateway; other roles are called "
            "with the token of pool.token_file: set it, or remove the users' tokens from this process"
        )
    if is_unix(address):
        path = Path(address.removeprefix(UNIX))
        if len(str(path).encode()) > MAX_UNIX_BYTES:
            raise ListenError(f"{path}: a Unix socket's path has at most {MAX_UNIX_BYTES} bytes; choose a shorter one")
        return
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ListenError("server.tls_cert and server.tls_key belong together; one is missing")
    if settings.tls_client_ca and not settings.tls_cert:
        raise ListenError("server.tls_client_ca needs server.tls_cert and server.tls_key")
    if settings.tls_client_owner != "none" and not settings.tls_client_ca:
        raise ListenError("server.tls_client_owner needs server.tls_client_ca, which has signed the certificates")
    token_setting = "server.token (or server.tokens_file, server.signing_keys)" if has_users else "pool.token_file"
    knows_callers = settings.knows_users if has_users else bool(has_role_tokens or settings.signing_keys)
    is_known = knows_callers or settings.tls_client_ca
    if not is_loopback(address) and not settings.insecure and not (settings.tls_cert and is_known):
        raise ListenError(
            f"{address} is reachable from other machines, and requires TLS and a token; set server.tls_cert, "
            f"server.tls_key and {token_setting}, listen on 127.0.0.1, or use --insecure on a closed network"
        )
