"""Every method of the contract against every grant, at the public port."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tests.mesh.harness import free_port

from segue.analyzer.v1 import analyzer_pb2
from segue.composer.v1 import composer_pb2
from segue.mixer.v1 import mixer_pb2
from segue_client.errors import from_rpc_error
from segue_runtime.callers import EVERY_GRANT, Grant
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import ServerSettings, SettingsError, load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from google.protobuf.descriptor import MethodDescriptor

USERS = {"compose", "watch", "analyze", "admin"}
"""The grants of users."""
COMPOSER = "segue.composer.v1.ComposerService"
DENIED = grpc.StatusCode.PERMISSION_DENIED
SERVICES = (composer_pb2, analyzer_pb2, mixer_pb2)
# What suffices, besides `admin`. A new method of the contract without an entry here fails.
SUFFICES = {
    f"{COMPOSER}/Compose": "compose",
    f"{COMPOSER}/CreateComposition": "compose",
    f"{COMPOSER}/GetComposition": "watch",
    f"{COMPOSER}/ListCompositions": "watch",
    f"{COMPOSER}/WatchComposition": "watch",
    f"{COMPOSER}/CancelComposition": "compose",
    f"{COMPOSER}/RetryComposition": "compose",
    f"{COMPOSER}/DeleteComposition": "compose",
    f"{COMPOSER}/PlanComposition": "compose",
    f"{COMPOSER}/DownloadArtifact": "watch",
    f"{COMPOSER}/GetArtifactUrl": "watch",
    f"{COMPOSER}/ListModels": "compose watch",
    f"{COMPOSER}/GetStats": "watch",
    f"{COMPOSER}/GetUsage": "watch",
    f"{COMPOSER}/CreateUpload": "compose analyze",
    f"{COMPOSER}/WriteUpload": "compose analyze",
    f"{COMPOSER}/FinishUpload": "compose analyze",
    f"{COMPOSER}/ListUploads": "compose watch analyze",
    f"{COMPOSER}/DeleteUpload": "compose analyze",
    f"{COMPOSER}/CreateAnalysis": "analyze",
    f"{COMPOSER}/GetAnalysis": "watch analyze",
    f"{COMPOSER}/WatchAnalysis": "watch analyze",
    f"{COMPOSER}/ListAnalyses": "watch analyze",
    f"{COMPOSER}/CancelAnalysis": "analyze",
    f"{COMPOSER}/CreateMaster": "compose",
    "segue.analyzer.v1.AnalyzerService/Analyze": "analyze",
    "segue.mixer.v1.MixerService/Master": "compose",
    "segue.mixer.v1.MixerService/Mix": "compose",
}


def line(owner: str, token: str, grants: str = "") -> str:
    return f"{owner} {hashlib.sha256(token.encode()).hexdigest()} {grants}\n"


async def refusal(channel: grpc.aio.Channel, method: MethodDescriptor, token: str) -> grpc.aio.AioRpcError | None:
    """Call a method without a message; return how it ended."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    call: Any = channel.stream_stream(path)
    try:
        async for _ in call(iter(()), metadata=(("authorization", f"Bearer {token}"),), timeout=60):
            pass
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A mesh with a token for each grant, whose text is the grant's name."""
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(line("ann", grant, grant) for grant in sorted(USERS)) + line("bob", "default"))
    flags = {"home": str(tmp_path), "server.tokens_file": str(tokens), "server.drain": "1s"}
    async with Node(load(flags, environ={}, folder=tmp_path), listen=("127.0.0.1:0",)) as found:
        yield found


async def test_each_method_is_served_to_callers_with_a_grant_that_suffices_and_to_no_others(node: Node) -> None:
    methods = [
        method
        for module in SERVICES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    found: dict[str, str] = {}
    async with grpc.aio.insecure_channel(node.addresses[0]) as channel:
        for method in methods:
            name = f"{method.containing_service.full_name}/{method.name}"
            served: list[str] = []
            for token in ("compose", "watch", "analyze", "admin", "default"):
                error = await refusal(channel, method, token)
                if error is None or error.code() is not DENIED:
                    served.append(token)
                    continue
                known = from_rpc_error(error)
                assert known.reason == "PERMISSION_DENIED"
                assert known.metadata["method"] == name
                assert known.metadata["grant"].split(",") == SUFFICES[name].split()
                assert known.message.startswith(f"{method.name} needs the grant {SUFFICES[name].split()[0]}")
            assert served[-2:] == ["admin", "default"], name
            found[name] = " ".join(served[:-2])
    assert found == SUFFICES


async def test_the_operator_and_callers_without_a_token_may_do_everything(tmp_path: Path) -> None:
    method = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"].methods_by_name["CancelAnalysis"]
    for flags in ({}, {"server.token": "a token that is long enough"}):
        settings = load({"home": str(tmp_path), "server.drain": "1s", **flags}, environ={}, folder=tmp_path)
        async with (
            Node(settings, listen=("127.0.0.1:0",)) as node,
            grpc.aio.insecure_channel(node.addresses[0]) as channel,
        ):
            error = await refusal(channel, method, flags.get("server.token", ""))
            assert error is not None
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # the call has no message


async def test_a_service_without_grants_for_a_method_does_not_start() -> None:
    grants = {"Analyze": EVERY_GRANT}
    for wrong in ({}, grants | {"Play": EVERY_GRANT}):
        with pytest.raises(ValueError, match="Analyze" if not wrong else "Play"):
            Server(ServerSettings(), [Service("segue.analyzer.v1.AnalyzerService", lambda _: None, grants=wrong)])
    Server(ServerSettings(), [Service("segue.analyzer.v1.AnalyzerService", lambda _: None, grants=grants)])


@pytest.mark.parametrize("grants", ["sing", "role", "watch,", "watch;compose"])
async def test_a_file_with_an_unknown_grant_stops_the_start(grants: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line("ann", "one") + line("bob", "two", grants))
    flags = {"home": str(tmp_path), "server.tokens_file": str(tokens)}
    settings = load(flags, environ={}, folder=tmp_path)
    with pytest.raises(SettingsError, match=r"line 2: .*compose,watch,analyze"):
        async with Node(settings, listen=(f"127.0.0.1:{free_port()}",)):
            pass


def test_grants_are_these() -> None:
    assert {*Grant} == USERS | {"role"}
