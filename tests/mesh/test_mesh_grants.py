"""Every method of the contract against every grant, at the ports of a gateway and of the roles."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tests.mesh.harness import free_port
from tests.mesh.shapes import shape

from segue.analyzer.v1 import analyzer_pb2
from segue.composer.v1 import composer_pb2
from segue.mixer.v1 import mixer_pb2
from segue.planner.v1 import planner_pb2
from segue.renderer.v1 import pool_pb2, renderer_pb2
from segue_client.errors import from_rpc_error
from segue_runtime.callers import EVERY_GRANT, Caller, Grant
from segue_runtime.rpc.admission import admission, signed_tokens
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import ServerSettings, SettingsError, load
from segued.serve.node import Node

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

COMPOSER = "segue.composer.v1.ComposerService"
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
KEY = "a-key-that-is-long-enough-for-HS256"
# The services at each port.
PORTS = {
    "all": (composer_pb2, analyzer_pb2, mixer_pb2, pool_pb2),
    "gateway": (composer_pb2, analyzer_pb2, mixer_pb2),
    "conductor": (pool_pb2,),
    "planner": (planner_pb2,),
    "renderer": (renderer_pb2,),
    "mixer": (mixer_pb2,),
    "analyzer": (analyzer_pb2,),
}
# The grants that suffice at a gateway, besides `admin`. A new method of the contract without an entry fails.
FOR_USERS = {
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
    f"{COMPOSER}/CreateSeparation": "analyze",
    f"{COMPOSER}/GetSeparation": "watch analyze",
    f"{COMPOSER}/WatchSeparation": "watch analyze",
    f"{COMPOSER}/ListSeparations": "watch analyze",
    f"{COMPOSER}/CancelSeparation": "analyze",
    f"{COMPOSER}/DeleteSeparation": "analyze",
    "segue.analyzer.v1.AnalyzerService/Analyze": "analyze",
    "segue.analyzer.v1.AnalyzerService/Separate": "analyze",
    "segue.mixer.v1.MixerService/Master": "compose",
    "segue.mixer.v1.MixerService/Mix": "compose",
}
GATEWAYS = ("all", "gateway")


def signed(*grants: Grant) -> str:
    key = signed_tokens.SigningKey(KEY)
    return signed_tokens.sign(key, Caller("ann", frozenset(grants)), now=time.time(), ttl_s=600)


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


async def served_to(channel: grpc.aio.Channel, method: MethodDescriptor) -> set[str]:
    """Return the grants of which each alone opens a method."""
    name = f"{method.containing_service.full_name}/{method.name}"
    served: set[str] = set()
    for grant in Grant:
        error = await refusal(channel, method, signed(grant))
        if error is None or error.code() not in {DENIED, UNKNOWN}:
            served.add(grant.value)
            continue
        known = from_rpc_error(error)
        assert (error.code(), known.reason, known.metadata["method"]) == (DENIED, "PERMISSION_DENIED", name)
        assert known.message.startswith(f"{method.name} needs the grant {known.metadata['grant'].split(',')[0]}")
        assert known.message.endswith(f"your credentials have {grant.value}")
    for token in ("", "no-token"):
        error = await refusal(channel, method, token)
        assert error is not None
        assert error.code() is UNKNOWN
    return served


@pytest.mark.parametrize("port", PORTS)
async def test_each_method_is_open_to_callers_with_a_grant_that_suffices_and_to_no_others(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "SLOW_DOWN_S", 0.0)
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    flags = {"home": str(tmp_path), "server.role": port, "server.signing_keys": str(keys), "server.drain": "1s"}
    settings = load(
        {**flags, **shape().settings(tmp_path), "conductor.listen": "127.0.0.1:0"}, environ={}, folder=tmp_path
    )
    expected: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {}
    async with (
        Node(settings, listen=("127.0.0.1:0",)) as node,
        grpc.aio.insecure_channel(node.addresses[0]) as channel,
    ):
        for service in services_at(port):
            is_for_users = port in GATEWAYS and service.name != "PoolService"
            for method in service.methods:
                name = f"{service.full_name}/{method.name}"
                expected[name] = {*FOR_USERS[name].split(), "admin"} if is_for_users else {"role"}
                found[name] = await served_to(channel, method)
    assert found == expected


def services_at(port: str) -> list[ServiceDescriptor]:
    return [service for module in PORTS[port] for service in module.DESCRIPTOR.services_by_name.values()]


def test_every_service_of_the_contract_is_at_a_port() -> None:
    texts = [path.read_text() for path in (Path(__file__).parents[2] / "protos" / "segue").rglob("*.proto")]
    written = {name for text in texts for name in re.findall(r"^service (\w+)", text, re.MULTILINE)}
    assert {service.name for port in PORTS for service in services_at(port)} == written


async def test_the_operator_and_callers_without_a_token_may_do_everything(tmp_path: Path) -> None:
    method = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"].methods_by_name["CancelAnalysis"]
    for flags in ({}, {"server.token": "a token that is long enough"}):
        settings = load(
            {"home": str(tmp_path), **shape().settings(tmp_path), "server.drain": "1s", **flags},
            environ={},
            folder=tmp_path,
        )
        async with (
            Node(settings, listen=("127.0.0.1:0",)) as node,
            grpc.aio.insecure_channel(node.addresses[0]) as channel,
        ):
            error = await refusal(channel, method, flags.get("server.token", ""))
            assert error is not None
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # the call has no message


async def test_a_service_without_grants_for_a_method_does_not_start() -> None:
    grants = dict.fromkeys(("Analyze", "Separate"), EVERY_GRANT)
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
