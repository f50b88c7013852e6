"""Strangers and callers at the public port: what they may reach, and that nobody can use up what others need."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.mesh.harness import Segued, hear, spec

from segue.composer.v1 import composition_pb2
from segue_client import Access, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TOKEN = "a token that is long enough"
WRONG = "Bearer not-the-token"
CODES = grpc.StatusCode
SERVING = health_pb2.HealthCheckResponse.SERVING
COMPOSER = "segue.composer.v1.ComposerService"


@contextlib.contextmanager
def running(home: Path, *flags: str) -> Iterator[Segued]:
    one = Segued(home, *flags).start()
    try:
        yield one
    finally:
        one.stop()


@contextlib.asynccontextmanager
async def connection(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a connection that no other channel of this process shares."""
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as found:
        yield found


async def is_serving(address: str, service: str = "") -> bool:
    async with connection(address) as wire:
        stub: Any = health_pb2_grpc.HealthStub(wire)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        return bool(answer.status == SERVING)


async def compose(address: str, token: str = TOKEN) -> composition_pb2.Composition:
    async with Client(Access(address, token=token), patience_s=20) as client:
        return (await hear(client.compose(spec(seconds=2)))).composition


async def test_hundreds_of_health_watches_of_strangers_stop_nobody(tmp_path: Path) -> None:
    with running(tmp_path, "--server-token", TOKEN, "--server-max-calls", "1") as one:
        async with contextlib.AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(connection(one.address)) for _ in range(4)]
            request = health_pb2.HealthCheckRequest(service=COMPOSER)
            stubs: list[Any] = [health_pb2_grpc.HealthStub(wire) for wire in wires]
            watches = [stub.Watch(request) for stub in stubs for _ in range(75)]
            first = await asyncio.gather(*(watch.read() for watch in watches), return_exceptions=True)
            refused = [each for each in first if isinstance(each, grpc.aio.AioRpcError)]
            assert len(first) - len(refused) == 32
            assert {each.code() for each in refused} == {CODES.RESOURCE_EXHAUSTED}
            assert await is_serving(one.address)
            # One call of a caller is enough: what the roles call meanwhile does not count.
            made = await asyncio.wait_for(compose(one.address), 90)
            assert made.state == composition_pb2.STATE_SUCCEEDED
            for watch in watches:
                watch.cancel()
            # The address may watch again when its streams have ended.
            async with asyncio.timeout(30):
                again: object = refused[0]
                while isinstance(again, grpc.aio.AioRpcError):
                    (again,) = await asyncio.gather(stubs[0].Watch(request).read(), return_exceptions=True)


async def test_a_token_of_a_caller_reaches_no_inner_service(tmp_path: Path) -> None:
    authorization = (("authorization", f"Bearer {TOKEN}"),)
    paths = [
        "/segue.renderer.v1.RendererService/RenderSection",
        "/segue.renderer.v1.RendererService/GetStatus",
        "/segue.planner.v1.PlannerService/CreatePlan",
        "/segue.mixer.v1.MixerService/Mix",
    ]
    with running(tmp_path, "--server-token", TOKEN) as one:
        async with connection(one.address) as wire:
            for path in paths:
                stream: Any = wire.stream_stream(path)
                # Without a message: grpc.aio reports INTERNAL when a message meets a stream that has ended.
                call = stream(metadata=authorization)
                async with asyncio.timeout(60):
                    assert await call.code() is CODES.UNIMPLEMENTED, path
            for name in ("segue.analyzer.v1.AnalyzerService", "segue.mixer.v1.MixerService", COMPOSER):
                assert await is_serving(one.address, name)


async def test_wrong_tokens_are_slowed_down_and_logged_with_their_address(tmp_path: Path) -> None:
    with running(tmp_path, "--server-token", TOKEN) as one:
        async with connection(one.address) as wire:
            stats: Any = wire.unary_unary(f"/{COMPOSER}/GetStats")
            wrong = [stats(b"", metadata=(("authorization", WRONG),)) for _ in range(60)]
            codes = {await call.code() for call in wrong}
            assert codes == {CODES.UNAUTHENTICATED}
            await stats(b"", metadata=(("authorization", f"Bearer {TOKEN}"),))
        one.terminate()
        text = (tmp_path / "all.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    refusals = [line for line in lines if line["event"] == "refused"]
    assert 1 <= len(refusals) < 60
    assert {line["peer"] for line in refusals} == {"127.0.0.1"}
    assert {line["reason"] for line in refusals} == {"UNAUTHENTICATED"}
    (served,) = [line for line in lines if line["event"] == "call" and line["method"] == "GetStats"]
    assert (served["peer"], served["owner"]) == ("127.0.0.1", "local")
    assert not [line for line in lines if line.get("method") == "GetStatus"]  # the conductor asks every second
    assert WRONG.removeprefix("Bearer ") not in text


async def test_connections_of_strangers_leave_files_for_the_work(tmp_path: Path) -> None:
    with running(tmp_path, "--server-token", TOKEN, "--server-max-connections", "20") as one:
        host, _, port = one.address.rpartition(":")
        with contextlib.ExitStack() as stack:
            async with Client(Access(one.address, token=TOKEN), patience_s=60) as client:
                name = (await client.create(spec(seconds=2))).name
                idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(60)]
                closed = [await asyncio.to_thread(is_closed, each) for each in idle]
                assert 60 - closed.count(True) < 20
                assert (await hear(client.watch(name))).composition.state == composition_pb2.STATE_SUCCEEDED
            stack.close()
            async with Client(Access(one.address, token=TOKEN), patience_s=60) as client:
                assert (await client.stats()).version


def is_closed(connected: socket.socket) -> bool:
    """Wait for the server's first bytes, which an accepted connection receives at once, or for the end."""
    connected.settimeout(60)
    try:
        return not connected.recv(1)
    except ConnectionError:
        return True


# Owners.


def line(owner: str, token: str) -> str:
    return f"{owner} {hashlib.sha256(token.encode()).hexdigest()}\n"


async def test_the_file_of_tokens_is_read_again_without_a_restart(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line("ann", "old"))
    with running(tmp_path / "home", "--server-tokens-file", str(tokens), "--server-token", TOKEN) as one:

        async def code(token: str) -> grpc.StatusCode:
            async with connection(one.address) as wire:
                call: Any = wire.unary_unary(f"/{COMPOSER}/GetStats")
                found: grpc.StatusCode = await call(b"", metadata=(("authorization", f"Bearer {token}"),)).code()
                return found

        assert await code("old") is await code(TOKEN) is CODES.OK
        tokens.write_text(line("ann", "new") + line("bob", "other"))
        async with asyncio.timeout(60):
            while await code("new") is not CODES.OK:
                pass
        assert await code("old") is CODES.UNAUTHENTICATED
        tokens.write_text(line("bob", "other") + "ann of the new token\n")
        async with asyncio.timeout(60):
            while "line 2" not in (one.home / "all.log").read_text():
                assert await code("new") is CODES.OK
        assert await code("new") is CODES.OK
