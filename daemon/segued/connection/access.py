"""The address of a server and the credentials for it, as the settings name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_client import Access
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    from segue_runtime.settings.sections import ClientSettings

DEFAULT_PORT: Final = 7300
SCHEME: Final = re.compile(r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^/:]+)(?::(?P<port>\d{1,5}))?/*")
HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):\d{1,5}")


def access_to(address: str, client: ClientSettings) -> Access:
    """Return how to reach an address, with TLS and token of the settings."""
    target, is_https = _target(address)
    has_tls = bool(client.tls or client.tls_ca or client.tls_cert)
    if has_tls and is_https is False:
        raise CliError(ExitCode.USAGE, f"{address}: http:// means no TLS, but --tls asks for it", "write https://")
    try:
        return Access(
            target, client.token, client.tls or bool(is_https), client.tls_ca, client.tls_cert, client.tls_key
        )
    except ValueError as error:
        raise CliError(ExitCode.USAGE, str(error)) from error


def _target(address: str) -> tuple[str, bool | None]:
    """Return the target for grpc, and whether the scheme says TLS; None: there is no scheme."""
    if match := SCHEME.fullmatch(address):
        return f"{match['host']}:{match['port'] or DEFAULT_PORT}", match["scheme"] == "https"
    if address.startswith(("unix:", "dns:")) or HOST_AND_PORT.fullmatch(address):
        return address, None
    raise CliError(
        ExitCode.USAGE,
        f"{address!r} is not an address",
        "write HOST:PORT, http://HOST, https://HOST or unix:PATH",
    )
