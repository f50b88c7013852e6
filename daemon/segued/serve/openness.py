"""What a server leaves open: calls without credentials, connections without TLS, owners without limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_runtime.settings import Settings


def open_doors(settings: Settings, *, has_users: bool) -> list[str]:
    """Return a sentence for each of authentication, TLS and limits that is open at a server with these settings."""
    server = settings.server
    asks_for_certificates = server.tls_client_ca is not None
    found: list[str] = []
    if has_users and not server.knows_users and not asks_for_certificates:
        found.append("no token is required: every caller may do everything")
    if not has_users and not (settings.pool.token_file or server.signing_keys or asks_for_certificates):
        found.append("no token of roles is required")
    if not server.tls_cert:
        found.append("no TLS: calls and tokens can be read on the way")
    if has_users and not settings.limits.tenants_file:
        found.append("no table of tenants: only the queue and the sizes of uploads limit owners")
    return found
