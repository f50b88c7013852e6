"""A server's certificate and key, read again when they change, with a message of its own for each unusable file."""

from __future__ import annotations

import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from segue_runtime import logs
from segue_runtime.rpc.addresses import ListenError

if TYPE_CHECKING:
    from pathlib import Path

    from segue_runtime.settings import ServerSettings

LOOK_EVERY_S: Final = 1.0
log = logs.get("tls")


def credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    """Return the credentials of a server, or raise ListenError. New handshakes use the files as they are then."""
    files = CertificateFiles(settings)
    changed = cast("Any", files.changed)  # the stubs do not know that None means no change
    return grpc.dynamic_ssl_server_credentials(files.read(), changed, settings.tls_client_ca is not None)


class CertificateFiles:
    """Certificate, key and the certificates of callers' signers. Files that cannot be used together change nothing."""

    def __init__(self, settings: ServerSettings) -> None:
        if settings.tls_cert is None or settings.tls_key is None:
            raise ListenError("TLS needs server.tls_cert and server.tls_key")
        self._certificate, self._key = settings.tls_cert, settings.tls_key
        self._client_ca = settings.tls_client_ca
        self._lock = threading.Lock()  # gRPC calls `changed` in threads of its own
        self._version: tuple[object, ...] | None = self._stat()
        self._looked = time.monotonic()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read and check the files. Raises ListenError."""
        key, chain = _read("server.tls_key", self._key), _read("server.tls_cert", self._certificate)
        client_ca = _read("server.tls_client_ca", self._client_ca) if self._client_ca else None
        _check_certificates("server.tls_cert", self._certificate)
        _check_key(self._certificate, self._key)
        if self._client_ca:
            _check_certificates("server.tls_client_ca", self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=client_ca)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what changed files say; None if they have not changed or cannot be used."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < LOOK_EVERY_S:
                return None
            self._looked = now
            version = self._stat()
            if version == self._version:
                return None
            self._version = version
            try:
                found = self.read()
            except ListenError as error:
                log.error("a changed certificate was not read; the one before still counts", reason=str(error))  # noqa: TRY400 - the text names the file
                return None
            if self._stat() != version:  # it is being written, and may have been read in part
                self._version = None
                return None
            log.info("a changed certificate was read")
            return found

    def _stat(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in filter(None, (self._certificate, self._key, self._client_ca)):
            try:
                status = path.stat()
            except OSError as error:
                found.append(error.errno)
            else:
                found += [status.st_mtime_ns, status.st_size, status.st_ino]
        return tuple(found)


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
