"""The proxies of a gateway: Analyze and Master give the same answers as the roles themselves."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.analyzer.analyzer_calls import Analyzer, pcm_requests
from tests.mesh.harness import embedded
from tests.mesh.shapes import shape
from tests.mixer.mixer_server import band, mastered

from segue.mixer.v1 import mixer_pb2, mixer_pb2_grpc
from segue_runtime import errors
from segue_runtime.rpc import interceptors
from segue_runtime.rpc.admission.role_tokens import RoleAccess
from segue_runtime.rpc.channels import connect
from segue_runtime.rpc.duplex import exchange
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.analyzer.v1 import analyzer_pb2

TOKEN = "the gateway's own token"


@dataclass(frozen=True)
class Doors:
    inner: grpc.aio.Channel
    gateway: grpc.aio.Channel
    stranger: grpc.aio.Channel


def mixer_of(channel: grpc.aio.Channel) -> mixer_pb2_grpc.MixerServiceAsyncStub:
    return mixer_pb2_grpc.MixerServiceStub(channel)  # type: ignore[return-value]  # the stub of an aio channel


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    """Start a gateway in front of roles that only the gateway can reach."""
    async with embedded(tmp_path / "inner") as (inner, _):
        home = tmp_path / "gateway"
        flags: dict[str, object] = {
            "home": str(home),
            **shape().settings(home),
            "server.role": "gateway",
            "server.drain": "1s",
        }
        flags |= {f"{role}.address": inner.inner for role in ("planner", "mixer", "analyzer")}
        settings = load({**flags, "server.token": TOKEN}, environ={}, folder=tmp_path)
        async with Node(settings, listen=("127.0.0.1:0",)) as gateway:
            address = gateway.addresses[0]
            access = RoleAccess(token=TOKEN)
            async with connect(inner.inner) as within, connect(address, access) as known, connect(address) as other:
                yield Doors(within, known, other)


async def test_a_report_passes_unchanged(doors: Doors) -> None:
    requests = list(pcm_requests(band(6.0), 48_000))
    direct = await Analyzer(doors.inner).send(requests)
    assert await Analyzer(doors.gateway).send(requests) == direct
    assert direct.frames == 6 * 48_000


async def test_an_error_passes_unchanged(doors: Doors) -> None:
    requests = list(itertools.islice(pcm_requests(band(1.0), 48_000), 3))
    requests[2].audio.data = requests[2].audio.data[:-8]
    with pytest.raises(errors.SegueError) as direct:
        await Analyzer(doors.inner).send(requests)
    with pytest.raises(errors.SegueError) as passed:
        await Analyzer(doors.gateway).send(requests)
    assert (passed.value.code, str(passed.value)) == (direct.value.code, str(direct.value))
    assert passed.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_master_passes_and_mix_is_not_offered(doors: Doors) -> None:
    sound = band(3.0)
    direct = await mastered(mixer_of(doors.inner), sound)
    passed = await mastered(mixer_of(doors.gateway), sound)
    assert passed.sound.tobytes() == direct.sound.tobytes()
    assert len(passed.sound) == len(sound)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in mixer_of(doors.gateway).Mix(iter([mixer_pb2.MixRequest()])):
            pass
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_early_error_keeps_its_reason_while_the_client_sends(doors: Doors) -> None:
    requests = list(pcm_requests(band(6.0), 48_000))
    requests[0].start.format.channels = 99

    async def sent(count: int) -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        for request in requests[:count]:
            yield request

    for count in (1, 2, 60, 60, 60):
        with pytest.raises(errors.SegueError) as refused:
            async for _ in exchange(
                Analyzer(doors.gateway).stub.Analyze, sent(count), service="analyzer", timeout_s=60
            ):
                pass
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_plain_client_receives_the_reason_while_it_sends(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("READ_ON_S", "PAUSE_S"):
        monkeypatch.setattr(interceptors, limit, 60.0)
    requests = list(pcm_requests(band(6.0), 48_000))
    requests[0].start.format.channels = 99
    num_sent = 0

    async def sent() -> AsyncIterator[analyzer_pb2.AnalyzeRequest]:
        nonlocal num_sent
        for request in requests:
            yield request
            num_sent += 1
            await asyncio.sleep(0.01 if num_sent == 1 else 0)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in Analyzer(doors.gateway).stub.Analyze(sent()):
            pass
    assert (refused.value.code(), num_sent) == (grpc.StatusCode.INVALID_ARGUMENT, len(requests))


async def test_calls_without_a_token_are_refused(doors: Doors) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in Analyzer(doors.stranger).stub.Analyze(iter(())):
            pass
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
