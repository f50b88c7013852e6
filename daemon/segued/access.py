"""How segued reaches a server as its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_client import Access
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    from segue_runtime.settings.sections import ClientSettings


def access_to(address: str, client: ClientSettings) -> Access:
    """Return the way to an address, with what the settings say of TLS and token."""
    try:
        return Access(address, client.token, client.tls, client.tls_ca, client.tls_cert, client.tls_key)
    except ValueError as error:
        raise Stop(Exit.USAGE, str(error)) from error
