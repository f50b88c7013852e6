"""Limits and authentication of a server process, measured at the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tests.mesh.harness import Segued, hear, reach, spec

from segue.composer.v1 import composer_pb2, composer_pb2_grpc, composition_pb2, stream_pb2
from segue_client import Access, Client, SegueError
from segue_client.errors import from_rpc_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from google.protobuf.descriptor import MethodDescriptor

SERVICE = "segue.composer.v1.ComposerService"
CREATE = f"/{SERVICE}/CreateComposition"
GET_STATS = f"/{SERVICE}/GetStats"
MEGABYTE = 1 << 20
MAX_MESSAGE_BYTES = MEGABYTE
CODES = grpc.StatusCode


@pytest.fixture(scope="module")
def segued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("home")).start(failpoints="conductor.after_plan=sleep(600s)")
    yield one
    one.stop()


@contextlib.asynccontextmanager
async def channel(address: str, *options: tuple[str, int]) -> AsyncIterator[Any]:
    """Open a connection of its own, without the limits of our clients."""
    free = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1), *options]
    async with grpc.aio.insecure_channel(address, free) as found:
        yield found


async def code_of(call: Any) -> grpc.StatusCode:
    """Return the status code of a unary call."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return CODES.OK


async def test_a_compressed_bomb_of_256_mib_costs_no_memory(segued: Segued) -> None:
    async with channel(segued.address) as wire:
        send: Any = wire.unary_unary(CREATE)
        assert await code_of(send(b"\x0a" + bytes(MEGABYTE), compression=grpc.Compression.Gzip)) is (
            CODES.RESOURCE_EXHAUSTED
        )
        before = segued.memory_bytes
        bomb = b"\x0a" + bytes(256 * MEGABYTE)
        assert await code_of(send(bomb, compression=grpc.Compression.Gzip)) is CODES.RESOURCE_EXHAUSTED
        assert segued.memory_bytes - before < 20 * MEGABYTE
        assert await code_of(wire.unary_unary(GET_STATS)(b"")) is CODES.OK


async def test_the_largest_message_is_accepted_and_one_byte_more_is_not(segued: Segued) -> None:
    async with channel(segued.address) as wire:
        send: Any = wire.unary_unary(CREATE)
        # Field 1 with a length of four bytes and an invalid spec: received, decoded, refused for its content.
        raw = b"\x0a\xfb\xff\x3f" + bytes(MAX_MESSAGE_BYTES - 4)
        assert len(raw) == MAX_MESSAGE_BYTES
        assert await code_of(send(raw[:-1])) is CODES.INVALID_ARGUMENT
        assert await code_of(send(raw)) is CODES.INVALID_ARGUMENT
        assert await code_of(send(raw + b"\x00")) is CODES.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ([("x-long", "v" * 12 * 1024)], CODES.OK),
        ([("x-long", "v" * 64 * 1024)], CODES.RESOURCE_EXHAUSTED),
        ([(f"x-{index}", "v" * 60) for index in range(1000)], CODES.RESOURCE_EXHAUSTED),
        ([("x-request-id", "v" * 8000)], CODES.OK),
        ([("authorization", "Bearer " + "v" * 8000)], CODES.OK),
    ],
    ids=["12 KiB", "64 KiB", "1000 keys", "a long request id", "a token for nobody"],
)
async def test_large_headers_are_refused_and_break_nothing(
    segued: Segued, metadata: list[tuple[str, str]], code: grpc.StatusCode
) -> None:
    async with channel(segued.address, ("grpc.max_metadata_size", MEGABYTE)) as wire:
        assert await code_of(wire.unary_unary(GET_STATS)(b"", metadata=tuple(metadata))) is code
        assert await code_of(wire.unary_unary(GET_STATS)(b"")) is CODES.OK


async def test_idle_streams_on_one_connection_are_limited_and_do_not_affect_others(segued: Segued) -> None:
    async with Client(segued.address, patience_s=5) as client:
        name = (await client.create(spec())).name
        before = segued.memory_bytes
        async with channel(segued.address) as wire:
            stub: Any = composer_pb2_grpc.ComposerServiceStub(wire)
            request = stream_pb2.WatchCompositionRequest(name=name)
            calls = [stub.WatchComposition(request) for _ in range(2000)]
            async with asyncio.timeout(60):
                while (await client.stats()).watchers < 256:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.05)
            # The other streams wait at the client, or were refused; other clients are served.
            assert (await client.stats()).watchers == 256
            await reach(client.watch(name), "accepted")
            refused = [call for call in calls if call.done()]
            assert {await call.code() for call in refused} <= {CODES.UNAVAILABLE, CODES.RESOURCE_EXHAUSTED}
            assert segued.memory_bytes - before < 256 * MEGABYTE // 4
            for call in calls:
                call.cancel()
        async with asyncio.timeout(60):
            while (await client.stats()).watchers:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.05)


async def test_too_many_calls_are_refused_and_later_ones_are_served(tmp_path: Path) -> None:
    one = Segued(tmp_path, "--server-max-calls", "20").start(failpoints="conductor.after_plan=sleep(600s)")
    try:
        async with Client(one.address, patience_s=5) as client:
            name = (await client.create(spec())).name
        async with channel(one.address) as wire:
            stub: Any = composer_pb2_grpc.ComposerServiceStub(wire)
            request = stream_pb2.WatchCompositionRequest(name=name)
            calls = [stub.WatchComposition(request) for _ in range(40)]
            first = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
            refused = [each for each in first if isinstance(each, grpc.aio.AioRpcError)]
            found = {(each.code(), from_rpc_error(each).reason) for each in refused}
            assert found == {(CODES.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")}
            assert 1 <= len(first) - len(refused) <= 20
            for call in calls:
                call.cancel()
            async with asyncio.timeout(30):
                while await code_of(stub.GetStats(composer_pb2.GetStatsRequest())) is not CODES.OK:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        one.stop()
    lines = [json.loads(line) for line in (tmp_path / "all.log").read_text().splitlines() if line.startswith("{")]
    refusals = {(each["peer"], each["owner"], each["reason"]) for each in lines if each["event"] == "refused"}
    assert refusals == {("127.0.0.1", "local", "TOO_MANY_CALLS")}


# Authentication.

TOKEN = "a token that is long enough"


async def test_every_method_needs_the_token(tmp_path: Path) -> None:
    one = Segued(tmp_path, "--server-token", TOKEN).start()
    sent: dict[str, tuple[tuple[str, str], ...]] = {
        "none": (),
        "empty": (("authorization", ""),),
        "another scheme": (("authorization", f"Basic {TOKEN}"),),
        "no scheme": (("authorization", TOKEN),),
        "another": (("authorization", "Bearer no"),),
        "the beginning": (("authorization", f"Bearer {TOKEN[:-1]}"),),
        "more": (("authorization", f"Bearer {TOKEN}x"),),
        "another header": (("x-authorization", f"Bearer {TOKEN}"),),
    }
    try:
        async with channel(one.address) as wire:

            async def refusal(method: MethodDescriptor, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
                # Undecodable bytes: without a token not even that is reported.
                path = f"/{SERVICE}/{method.name}"
                if not method.server_streaming:
                    return await code_of(wire.unary_unary(path)(b"\xff", metadata=metadata))
                stream: Any = wire.unary_stream(path)(b"\xff", metadata=metadata)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
                return caught.value.code()

            methods = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"].methods
            every = [(method, name) for method in methods for name in sent]
            # All at once, since each wrong token after the first few is answered a second later.
            codes = await asyncio.gather(*(refusal(method, sent[name]) for method, name in every))
            assert set(codes) == {CODES.UNAUTHENTICATED}
            for scheme in ("Bearer", "bearer"):
                right = (("authorization", f"{scheme} {TOKEN}"),)
                assert await code_of(wire.unary_unary(GET_STATS)(b"", metadata=right)) is CODES.OK
    finally:
        one.stop()


@dataclass(frozen=True)
class Certificates:
    """Two authorities. The first has signed a server for 127.0.0.1, one for another host, and a client."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ours", "theirs"):
        openssl(
            folder, "req", "-x509", *curve, "-days", "2", "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
        )  # fmt: skip
    signed = [
        ("here", "ours", "subjectAltName=IP:127.0.0.1"),
        ("elsewhere", "ours", "subjectAltName=DNS:music.example"),
        ("client", "ours", "extendedKeyUsage=clientAuth"),
        ("stranger", "theirs", "extendedKeyUsage=clientAuth"),
    ]
    for name, authority, extension in signed:
        (folder / f"{name}.ext").write_text(extension)
        openssl(folder, "req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
    return Certificates(folder)


def served_with(certificates: Certificates, name: str, *more: str) -> tuple[str, ...]:
    pair = ("--server-tls-cert", str(certificates.path(f"{name}.pem")))
    return (*pair, "--server-tls-key", str(certificates.path(f"{name}.key")), *more)


async def answer(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    opened = (
        grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
    )  # fmt: skip
    async with opened as wire:
        send: Any = wire.unary_unary(GET_STATS)
        return await code_of(send(b"", timeout=20))


@pytest.mark.reference("openssl")
async def test_tls_accepts_known_certificates_only(tmp_path: Path, certificates: Certificates) -> None:
    ours = certificates.read("ours.pem")
    theirs = certificates.read("theirs.pem")
    client = (certificates.read("client.key"), certificates.read("client.pem"))
    stranger = (certificates.read("stranger.key"), certificates.read("stranger.pem"))
    both = ("--server-tls-client-ca", str(certificates.path("ours.pem")))
    one = Segued(tmp_path / "mutual", *served_with(certificates, "here", *both)).start()
    other = Segued(tmp_path / "elsewhere", *served_with(certificates, "elsewhere")).start()
    try:
        expected = {
            "the right one": (one.address, grpc.ssl_channel_credentials(ours, *client), CODES.OK),
            "no certificate": (one.address, grpc.ssl_channel_credentials(ours), CODES.UNAVAILABLE),
            "a stranger's": (one.address, grpc.ssl_channel_credentials(ours, *stranger), CODES.UNAVAILABLE),
            "another authority": (one.address, grpc.ssl_channel_credentials(theirs, *client), CODES.UNAVAILABLE),
            "in the clear": (one.address, None, CODES.UNAVAILABLE),
            "another host": (other.address, grpc.ssl_channel_credentials(ours), CODES.UNAVAILABLE),
        }
        found = {name: await answer(address, credentials) for name, (address, credentials, _) in expected.items()}
        assert found == {name: code for name, (_, _, code) in expected.items()}
    finally:
        one.stop()
        other.stop()


@pytest.mark.reference("openssl")
async def test_our_client_sends_its_certificate(tmp_path: Path, certificates: Certificates) -> None:
    path = certificates.path
    asked = ("--server-tls-client-ca", str(path("ours.pem")))
    one = Segued(tmp_path, *served_with(certificates, "here", *asked)).start()
    try:
        own = Access(one.address, tls_ca=path("ours.pem"), tls_cert=path("client.pem"), tls_key=path("client.key"))
        async with Client(own, patience_s=5) as client:
            assert (await client.stats()).version
        async with Client(Access(one.address, tls_ca=path("ours.pem")), patience_s=0.5) as stranger:
            with pytest.raises(SegueError) as caught:
                await stranger.stats()
            assert caught.value.code is CODES.UNAVAILABLE
        flags = ["--client-tls-ca", "ours.pem", "--tls-cert", "client.pem", "--tls-key", "client.key"]
        for given, exit_code in ((flags, 0), (flags[:2], 3), (flags[:4], 2)):
            command = [sys.executable, "-m", "segued", "health", one.address, *given]
            ended = await asyncio.to_thread(subprocess.run, command, cwd=certificates.folder, capture_output=True)
            assert ended.returncode == exit_code, (given, ended.stderr)
    finally:
        one.stop()


@pytest.mark.reference("openssl")
async def test_a_piece_is_composed_over_tls_with_a_token(tmp_path: Path, certificates: Certificates) -> None:
    # Listening on all addresses is allowed, since the server has TLS and a token.
    one = Segued(tmp_path, *served_with(certificates, "here", "--server-token", TOKEN))
    port = one.address.rpartition(":")[2]
    one.address = f"0.0.0.0:{port}"
    try:
        one.start()
        trusted = certificates.path("ours.pem")
        access = Access(f"127.0.0.1:{port}", token=TOKEN, tls=True, tls_ca=trusted)
        async with Client(access, patience_s=10) as client:
            heard = await asyncio.wait_for(hear(client.compose(spec(seconds=2))), 60)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        async with Client(Access(f"127.0.0.1:{port}", tls=True, tls_ca=trusted), patience_s=0) as stranger:
            with pytest.raises(SegueError) as caught:
                await stranger.models()
            assert caught.value.code is CODES.UNAUTHENTICATED
    finally:
        one.stop()
