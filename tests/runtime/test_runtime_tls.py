"""TLS at a real server: owners by certificates, and certificates that change while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import io
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.runtime.call_server import GOOD, GRANTS, NAME, Client, Handlers, Seen, refused

from segue_runtime import logs
from segue_runtime.callers import DEFAULT_GRANTS, Caller, Grant
from segue_runtime.rpc import tls
from segue_runtime.rpc.addresses import ListenError
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import LogSettings, Settings, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PEM = serialization.Encoding.PEM
START, END = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2120, 1, 1, tzinfo=dt.UTC)


def named(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named(name)
        self.certificate = self._signed(self.name, self.key, is_authority=True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def issue(self, *common_names: str) -> tuple[bytes, bytes]:
        """Return a key and a certificate for a subject, which is also good for a server on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private, self._signed(named(*common_names), key).public_bytes(PEM)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False
    ) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(START).not_valid_after(END)
        made = made.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return made.add_extension(x509.SubjectAlternativeName([local]), critical=False).sign(self.key, hashes.SHA256())


OURS, THEIRS = Authority("ours"), Authority("theirs")


class TlsFolder:
    """The files of a server."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.client_ca = folder / "server.crt", folder / "server.key", folder / "ca.crt"
        self.client_ca.write_bytes(OURS.pem)
        self.write(*OURS.issue("server"))

    def write(self, key: bytes, certificate: bytes) -> bytes:
        """Write a pair; return the certificate as a handshake presents it."""
        self.key.write_bytes(key)
        self.certificate.write_bytes(certificate)
        return ssl.PEM_cert_to_DER_cert(certificate.decode())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TlsFolder:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.0)
    return TlsFolder(tmp_path)


@contextlib.asynccontextmanager
async def serving(files: TlsFolder, **more: object) -> AsyncIterator[tuple[str, Seen]]:
    seen = Seen()
    paths = {"server__tls_cert": files.certificate, "server__tls_key": files.key}
    named = {f"server__{key}": value for key, value in more.items()}
    settings = replace(Settings(home=files.key.parent), **paths, **named)
    server = Server(settings.server, [Service(NAME, Handlers(seen).register, grants=GRANTS)])
    address = server.listen("127.0.0.1:0")
    await server.start()
    try:
        yield address, seen
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def calling(address: str, pair: tuple[bytes, bytes] | None = None) -> AsyncIterator[Client]:
    trusted = grpc.ssl_channel_credentials(OURS.pem, *(pair or (None, None)))
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, trusted, options) as channel:
        yield Client(channel)


async def presented(address: str) -> bytes:
    """Return the certificate that a new handshake shows."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cadata=OURS.pem.decode())
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: Any = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(shown)


async def test_the_subject_of_a_certificate_is_the_owner_of_a_caller_without_a_token(files: TlsFolder) -> None:
    tokens = files.key.with_name("tokens")
    tokens.write_text(f"bob {hashlib.sha256(b'of-bob').hexdigest()} compose,admin\n")
    both = {"tls_client_ca": files.client_ca, "tls_client_owner": "subject", "tokens_file": tokens}
    async with serving(files, **both) as (address, seen):

        async def caller(pair: tuple[bytes, bytes], *metadata: tuple[str, str]) -> Caller:
            async with calling(address, pair) as client:
                await client.unary(GOOD, metadata=metadata)
            here = seen.scopes[-1]
            assert here is not None
            return Caller(here.owner, here.grants)

        ann = OURS.issue("ann.b@x")
        assert await caller(ann) == Caller("ann.b@x", DEFAULT_GRANTS)
        # A token counts instead of the certificate, and a wrong one is not replaced by it.
        token = ("authorization", "Bearer of-bob")
        assert await caller(ann, token) == Caller("bob", frozenset({Grant.COMPOSE, Grant.ADMIN}))
        async with calling(address, ann) as client:
            code, _, _ = await refused(client.unary(GOOD, metadata=(("authorization", "Bearer of-dan"),)))
            assert code is grpc.StatusCode.UNAUTHENTICATED
        for subject in (("Ann",), (), ("local",), ("a" * 64,), ("ann", "bob"), ("*",), ("ann\nb",)):
            async with calling(address, OURS.issue(*subject)) as client:
                code, error, _ = await refused(client.unary(GOOD))
                assert code is grpc.StatusCode.UNAUTHENTICATED, subject
                assert "subject of your certificate names no owner" in error.message
        for pair in (THEIRS.issue("ann"), None):
            async with calling(address, pair) as client:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await client.unary(GOOD, timeout=20)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_the_setting_a_certificate_names_no_owner(files: TlsFolder) -> None:
    async with serving(files, tls_client_ca=files.client_ca) as (address, seen):
        async with calling(address, OURS.issue("ann")) as client:
            await client.unary(GOOD)
        here = seen.scopes[-1]
        assert here is not None
        assert here.owner == "local"
    with pytest.raises(ListenError, match=r"server\.tls_client_owner needs server\.tls_client_ca"):
        async with serving(files, tls_client_owner="subject"):
            pass


async def test_a_new_certificate_is_presented_without_a_restart_and_a_broken_pair_is_not(files: TlsFolder) -> None:
    text = io.StringIO()
    logs.configure(LogSettings(format="json"), text)
    async with serving(files) as (address, _), calling(address) as before:
        await before.unary(GOOD)
        first = await presented(address)
        new = files.write(*OURS.issue("renewed"))
        assert first != new
        assert await presented(address) == new
        await before.unary(GOOD)  # an open connection goes on
        # A certificate whose key is not there yet, files that are none, and a file that is away.
        key, certificate = OURS.issue("later")
        files.certificate.write_bytes(certificate)
        assert await presented(address) == new
        files.key.write_text("no key")
        assert await presented(address) == new
        files.key.unlink()
        assert await presented(address) == new
        assert await presented(address) == new
        files.write(key, certificate)
        assert await presented(address) == ssl.PEM_cert_to_DER_cert(certificate.decode())
        async with calling(address) as after:
            await after.unary(GOOD)
    written = text.getvalue()
    assert written.count("a changed certificate was read") == 2
    assert written.count("a changed certificate was not read") == 3
    assert "is not the key of the certificate" in written
    assert "no private key in PEM" in written


async def test_another_signer_of_callers_counts_without_a_restart(files: TlsFolder) -> None:
    async with serving(files, tls_client_ca=files.client_ca, tls_client_owner="subject") as (address, _):
        files.client_ca.write_bytes(THEIRS.pem)
        async with calling(address, THEIRS.issue("ann")) as client:
            await client.unary(GOOD)
        async with calling(address, OURS.issue("ann")) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.unary(GOOD, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
