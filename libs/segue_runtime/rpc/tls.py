"""A server's certificate and key, with a message of its own for each file that cannot be used."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc

from segue_runtime.rpc.addresses import ListenError

if TYPE_CHECKING:
    from pathlib import Path

    from segue_runtime.settings import ServerSettings


def credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    """Return the credentials of a server, or raise ListenError."""
    if settings.tls_cert is None or settings.tls_key is None:
        raise ListenError("TLS needs server.tls_cert and server.tls_key")
    key, chain = _read("server.tls_key", settings.tls_key), _read("server.tls_cert", settings.tls_cert)
    client_ca = _read("server.tls_client_ca", settings.tls_client_ca) if settings.tls_client_ca else None
    _check_certificates("server.tls_cert", settings.tls_cert)
    _check_key(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca:
        _check_certificates("server.tls_client_ca", settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ListenError(f"{setting}: {path}: {error.strerror}") from error


def _check_certificates(setting: str, path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ListenError(f"{setting}: {path} has no certificate in PEM, or a damaged one") from error


def _check_key(certificate: Path, key: Path) -> None:
    def refuse() -> str:
        raise ListenError(f"server.tls_key: {key} is encrypted; Segue needs a key without a passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ListenError(f"server.tls_key: {key} is not the key of the certificate {certificate}") from error
        raise ListenError(f"server.tls_key: {key} has no private key in PEM, or a damaged one") from error
