"""Faults and extremes through the renderer's edge: each has its code, and other requests are unharmed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.engine.on_device import flags, settings_of
from tests.engine.serving import HOP, RATE, SPEC, play, serving, sound_messages, start_of
from tests.engine.starving import NoMemory, check_sections_move, pool_of
from tests.mesh.harness import Segued

from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_renderer.musicgen.backend import MusicgenBackend
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder
from segue_runtime import errors, failpoints
from segue_runtime.rpc import channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

HALF_AN_HOUR_S = 1800


@pytest.fixture(autouse=True)
def unarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


FAULTS = {
    "no memory to join": ("musicgen.join_memory=error", grpc.StatusCode.RESOURCE_EXHAUSTED, errors.OutOfMemory),
    "no memory in a step": ("musicgen.step_memory=error", grpc.StatusCode.RESOURCE_EXHAUSTED, errors.OutOfMemory),
    "the device is lost": ("musicgen.step=error", grpc.StatusCode.UNAVAILABLE, errors.DeviceLost),
}


@pytest.mark.parametrize("what", FAULTS)
async def test_a_fault_has_its_code_and_the_next_request_succeeds(
    what: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    place, code, kind = FAULTS[what]
    async with serving(checkpoints["mono"].folder, tmp_path, slots=2) as (stub, backend):
        expected = await play(stub, start_of())
        failpoints.arm(place)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of())
        failpoints.arm("")
        assert (caught.value.code(), type(errors.from_rpc_error(caught.value))) == (code, kind)
        assert np.array_equal((await play(stub, start_of())).samples, expected.samples)
        assert (backend.status().busy_slots, backend.status().queued) == (0, 0)


async def test_no_memory_for_one_more_job_leaves_the_running_one_alone(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    long = replace(SPEC, frames=6 * RATE)
    async with serving(checkpoints["mono"].folder, tmp_path, slots=2) as (stub, backend):
        expected = await play(stub, start_of(long))
        steps = backend.num_steps
        playing = asyncio.create_task(play(stub, start_of(long)))
        # It has joined for certain when it steps.
        while backend.num_steps == steps:  # noqa: ASYNC110 - the engine's own count is what is asked for
            await asyncio.sleep(0.001)
        failpoints.arm("musicgen.join_memory=error")
        with pytest.raises(grpc.aio.AioRpcError):
            await play(stub, start_of())
        assert np.array_equal((await playing).samples, expected.samples)


async def test_a_section_without_memory_is_played_by_another_renderer(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoints["mono"].folder
    backends = [MusicgenBackend(settings_of(folder, slots=1)) for _ in range(2)]
    async with pool_of(tmp_path, *backends) as client:
        no_memory = NoMemory(monkeypatch)
        for each in backends:
            no_memory.may_strike(each._engine.runner, "step")  # noqa: SLF001 - memory cannot be taken away
        await check_sections_move(client, folder.name, no_memory)


async def test_no_memory_to_load_names_remedies_and_a_second_try_loads(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    backend = MusicgenBackend(settings_of(checkpoints["mono"].folder))
    failpoints.arm("musicgen.load_memory=error")
    with pytest.raises(
        errors.OutOfMemory, match=r"no memory to load .*fewer renderer\.musicgen\.slots.*bf16.*smaller model"
    ):
        await backend.load()
    await backend.close()
    failpoints.arm("")
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        assert len((await play(stub, start_of())).samples) == RATE


@pytest.mark.parametrize("kind", ["conditioning", "guide"])
async def test_another_rate_is_refused_with_the_right_one(
    kind: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    sound = np.full((4000, 1), 0.1, np.float32)
    given: dict[str, Any] = {f"{kind}_frames": len(sound)}
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        with pytest.raises(
            grpc.aio.AioRpcError, match=f"{kind}: its sample rate is 48000 Hz; resample it to {RATE} Hz"
        ) as it:
            await play(stub, start_of(**given), *sound_messages(kind, sound, 48_000))
    assert it.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_section_of_one_frame_of_the_model_and_of_one_sample(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    async with serving(checkpoints["stereo"].folder, tmp_path) as (stub, _):
        for frames in (1, HOP, HOP + 1):
            rendered = await play(stub, start_of(replace(SPEC, frames=frames)))
            assert len(rendered.samples) == frames
            assert rendered.finished.window_frames_used == -(-frames // HOP)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_half_an_hour_is_rendered_to_its_last_sample(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    spec = replace(SPEC, frames=HALF_AN_HOUR_S * RATE)
    received, loudest, silent = 0, 0.0, 0
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, backend):
        call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(spec))]))
        async for message in call:
            if message.WhichOneof("message") == "audio":
                assert message.audio.first_frame == received
                piece = np.frombuffer(message.audio.data, "<f4")
                received += len(piece)
                loudest = max(loudest, float(np.abs(piece).max()))
                silent += not piece.any()
            elif message.WhichOneof("message") == "finished":
                finished = message.finished
        assert backend.status().busy_slots == 0
    assert received == finished.frames == HALF_AN_HOUR_S * RATE
    # 90 000 frames: 1500, then 900 in each window, which hears the 600 before.
    assert (finished.windows, finished.window_frames_used) == (100, 90_000 + 99 * 600)
    assert 0 < loudest < 10
    assert silent == 0, "nothing is made up of silence"


async def test_a_device_that_fails_twice_is_unhealthy_until_a_step_succeeds(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, backend):
        failpoints.arm("musicgen.step=error")
        for healthy in (True, False):
            with pytest.raises(grpc.aio.AioRpcError):
                await play(stub, start_of())
            assert backend.status().healthy is healthy
        failpoints.arm("")
        await play(stub, start_of())
        assert backend.status().healthy


async def test_a_device_that_computes_again_is_used_again(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, backend):
        failpoints.arm("musicgen.step=error")
        with pytest.raises(grpc.aio.AioRpcError):
            await play(stub, start_of())
        assert not backend.status().needs_restart
        failpoints.arm("")
        await play(stub, start_of())


async def test_a_failure_of_the_device_in_the_codec_is_a_lost_device(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, backend):
        monkeypatch.setattr(StreamDecoder, "push", fail)
        failpoints.arm("renderer.probe=error")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of())
        assert isinstance(errors.from_rpc_error(caught.value), errors.DeviceLost)
        assert (backend.status().healthy, backend.status().needs_restart) == (False, True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of())
        assert isinstance(errors.from_rpc_error(caught.value), errors.DeviceLost)


async def test_a_process_whose_device_computes_no_more_ends_with_an_error(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = checkpoints["mono"].folder
    renderer = Segued(
        tmp_path / "renderer", "--renderer", "musicgen", "--model", str(folder), *flags(), role="renderer"
    )
    try:
        renderer.start("musicgen.step=error;renderer.probe=error")
        async with channels.connect(renderer.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await play(renderer_pb2_grpc.RendererServiceStub(channel), start_of())
        assert isinstance(errors.from_rpc_error(caught.value), errors.DeviceLost)
        assert await renderer.ended() == 1
    finally:
        renderer.stop()
