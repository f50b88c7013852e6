"""The roles' own token: a user's token does not reach them, and theirs reaches no user's service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tests.mesh.harness import Segued, hear, spec
from tests.mesh.shapes import shape

from segue.analyzer.v1 import analyzer_pb2
from segue.composer.v1 import composer_pb2
from segue.mixer.v1 import mixer_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import pool_pb2, renderer_pb2
from segue_client import Access, Client
from segue_runtime.rpc.addresses import ListenError
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from pathlib import Path

USERS = "a token of a user, long enough"
OLD, NEW, WRONG = "the-former-token-of-roles", "the-present-token-of-roles", "a-token-of-another-mesh"
UNKNOWN, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
SERVICES = {
    "planner": planner_pb2,
    "renderer": renderer_pb2,
    "mixer": mixer_pb2,
    "analyzer": analyzer_pb2,
    "conductor": pool_pb2,
}


def tokens_in(folder: Path, *tokens: str) -> str:
    """Return a file of tokens."""
    path = folder / "role-tokens"
    path.write_text("".join(f"{token}\n" for token in tokens))
    return str(path)


async def code_of(channel: Any, service: Any, method: Any, token: str) -> grpc.StatusCode:
    """Call a method without a message, or with an empty one, and return the code of the answer."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    path = f"/{service.full_name}/{method.name}"
    try:
        if method.client_streaming:
            async for _ in channel.stream_stream(path)(iter(()), metadata=metadata, timeout=60):
                pass
        elif method.server_streaming:
            async for _ in channel.unary_stream(path)(b"", metadata=metadata, timeout=60):
                pass
        else:
            await channel.unary_unary(path)(b"", metadata=metadata, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("role", SERVICES)
async def test_every_call_of_a_role_needs_the_roles_token(role: str, tmp_path: Path) -> None:
    flags = {"home": str(tmp_path), "server.role": role, "server.token": USERS, "server.drain": "1s"}
    flags |= {"conductor.listen": "127.0.0.1:0"}
    settings = load(
        {**flags, **shape().settings(tmp_path), "pool.token_file": tokens_in(tmp_path, NEW, OLD)},
        environ={},
        folder=tmp_path,
    )
    async with Node(settings, listen=("127.0.0.1:0",)) as node, grpc.aio.insecure_channel(node.addresses[0]) as channel:
        for service in SERVICES[role].DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                for token in ("", WRONG, OLD[:-1]):
                    assert await code_of(channel, service, method, token) is UNKNOWN, (method.name, token)
                assert await code_of(channel, service, method, USERS) is DENIED, method.name
                for token in (NEW, OLD):
                    assert await code_of(channel, service, method, token) not in {UNKNOWN, DENIED}, method.name


async def test_without_a_file_nobody_joins_a_server_whose_users_have_tokens(tmp_path: Path) -> None:
    settings = load(
        {"home": str(tmp_path), **shape().settings(tmp_path), "server.token": USERS, "server.drain": "1s"},
        environ={},
        folder=tmp_path,
    )
    pool = pool_pb2.DESCRIPTOR.services_by_name["PoolService"]
    async with Node(settings, listen=("127.0.0.1:0",)) as node, grpc.aio.insecure_channel(node.addresses[0]) as channel:
        assert await code_of(channel, pool, pool.methods_by_name["Join"], "") is UNKNOWN
        assert await code_of(channel, pool, pool.methods_by_name["Join"], USERS) is DENIED


@pytest.mark.timeout(180)
async def test_gateway_and_conductor_send_the_token_and_a_user_needs_his_own(tmp_path: Path) -> None:
    file = tokens_in(tmp_path, NEW)
    inner = Segued(tmp_path / "home", "--pool-token-file", file, role="all")
    roles = {role: Segued(tmp_path / "home", "--pool-token-file", file, role=role) for role in ("planner", "renderer")}
    inner.flags += ("--server-token", USERS, "--planner-address", roles["planner"].address)
    inner.flags += ("--renderer-addresses", roles["renderer"].address)
    try:
        for one in (*roles.values(), inner):
            one.start()
        async with Client(Access(inner.address, token=USERS), patience_s=20) as client:
            heard = await hear(client.compose(spec(seconds=2)))
        assert heard.composition.outputs
        composer = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"]
        async with grpc.aio.insecure_channel(inner.address) as channel:
            assert await code_of(channel, composer, composer.methods_by_name["ListModels"], NEW) is DENIED
    finally:
        for one in (*roles.values(), inner):
            one.stop()
    for log in (tmp_path / "home").glob("*.log"):
        assert NEW not in log.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("hush\n")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"pool.token_file": "absent"}, "absent: No such file"),
        ({"pool.token_file": "empty"}, "empty has no token"),
        ({"pool.token_file": "short"}, "token 1: write at least 16 characters"),
        ({"server.token": USERS}, "set it, or remove the users' tokens"),
        ({}, "pool.token_file, listen on 127.0.0.1"),
    ],
)
async def test_a_role_does_not_start_with_an_unusable_token(
    flags: dict[str, str], expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = load({"home": str(folder), "server.role": "planner", **flags}, environ={}, folder=folder)
    host = "127.0.0.1" if flags else "0.0.0.0"  # noqa: S104 - refused
    with pytest.raises(ListenError, match=expected) as refused:
        async with Node(settings, listen=(f"{host}:0",)):
            pass
    assert "hush" not in str(refused.value)
