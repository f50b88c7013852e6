"""Calls of the renderer service: cancelling, waiting, and refusals."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.renderer.rig import play, renderer, requests, section, start_of

from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import Layer, LayerKind
from segue_music.plan import Continuity, Role, SectionSpec
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

GOOD = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
LONG = section("lofi, 1500 seconds, 88 bpm", "motif", seed=3, form=(Role.MOTIF,))


async def refused(call: Any) -> errors.SegueError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value
    return errors.from_rpc_error(caught.value)


async def test_a_cancelled_call_frees_its_slot_for_the_next(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, backend):
        call = stub.RenderSection(requests(start_of(LONG)))
        async for message in call:
            if message.WhichOneof("message") == "audio":
                break
        assert backend.status().busy_slots == 1
        call.cancel()
        # There is one slot: this ends only after the long call, 25 minutes of music, has freed it.
        rendered = await play(stub, start_of(GOOD))
        assert rendered.finished is not None
        assert backend.status().busy_slots == 0


async def queued(stub: Any, wanted: int) -> None:
    for _ in range(10_000):
        if (await stub.GetStatus(renderer_pb2.GetStatusRequest())).queued == wanted:
            return
    pytest.fail(f"the queue never had {wanted} calls")


async def test_a_waiting_call_can_be_cancelled(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, backend):
        playing = stub.RenderSection(requests(start_of(LONG)))
        await playing.read()
        waiting = stub.RenderSection(requests(start_of(LONG)))
        answer = await waiting.read()
        assert isinstance(answer, renderer_pb2.RenderSectionResponse)
        assert answer.accepted.queue_position == 1
        waiting.cancel()
        await queued(stub, 0)
        playing.cancel()
        rendered = await play(stub, start_of(GOOD))
        assert rendered.finished is not None
        assert backend.status().queued == 0


async def test_a_slow_reader_does_not_make_the_renderer_run_ahead(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, backend):
        call = stub.RenderSection(requests(start_of(LONG)))
        await call.read()
        # The process serves another caller while this one does not read.
        await stub.ListModels(renderer_pb2.ListModelsRequest())
        assert backend.status().busy_slots == 1
        call.cancel()
        await play(stub, start_of(GOOD))


async def test_the_profile_is_true(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
        status = await stub.GetStatus(renderer_pb2.GetStatusRequest())
        rendered = await play(stub, start_of(GOOD, stems=True, notes=True))
    assert list(status.models) == [profile]
    assert status.slots == 1
    assert rendered.accepted is not None
    assert rendered.accepted.profile == profile
    assert profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
    assert profile.gives_notes
    assert rendered.notes
    names = {music_pb2.LayerKind.Name(kind).removeprefix("LAYER_KIND_").lower() for kind in profile.layers}
    assert set(rendered.content) - {""} <= names | set(profile.extra_stems)


def changed(**fields: Any) -> SectionSpec:
    return dataclasses.replace(GOOD, **fields)


HOSTILE = {
    "no metre": changed(metre=None),
    "no key": changed(key=None),
    "no chords": changed(chords=()),
    "no layers": changed(layers=()),
    "the same layer twice": changed(layers=(Layer(LayerKind.BASS), Layer(LayerKind.BASS))),
    "no tempo": changed(tempo_points=()),
    "the tempo begins late": changed(tempo_points=(dataclasses.replace(GOOD.tempo_points[0], start_tick=1),)),
    "the tempo goes back": changed(tempo_points=(GOOD.tempo_points[0],) * 2),
    "no energy": changed(energy=()),
    "energy for fewer bars": changed(energy=GOOD.energy[:-1]),
    "no rate": changed(sample_rate=0),
    "a rate that carries no music": changed(sample_rate=100),
    "no frames": changed(frames=0),
    "far too few frames": changed(frames=GOOD.frames // 2),
    "far too many frames": changed(frames=2**62),
    "a tail without end": changed(tail_frames=2**62),
    "a gap in the chords": changed(chords=GOOD.chords[:1] + GOOD.chords[2:]),
    "chords beyond the end": changed(bars=GOOD.bars - 1, energy=GOOD.energy[1:]),
    "chords that begin late": changed(chords=GOOD.chords[1:]),
    "continuity by sound": changed(continuity=Continuity.TAIL),
}


@pytest.mark.parametrize("spec", HOSTILE.values(), ids=HOSTILE.keys())
async def test_an_incomplete_or_hostile_section_is_refused_by_name(tmp_path: Path, spec: SectionSpec) -> None:
    async with renderer(tmp_path) as (stub, backend):
        error = await refused(stub.RenderSection(requests(start_of(spec))))
        assert str(error)
        assert backend.status().busy_slots == 0
        assert backend.status().queued == 0


async def test_guides_are_refused_before_they_are_sent(tmp_path: Path) -> None:
    note = music_pb2.Note(layer=music_pb2.LAYER_KIND_LEAD, ticks=1, pitch=60, velocity=1)
    async with renderer(tmp_path) as (stub, _):
        for announced in ({"conditioning_frames": 10}, {"guide_frames": 172_800_000}, {"guide_notes": 1}):
            # The messages that start announced are never sent; the response must not wait for them.
            call = stub.RenderSection()
            await call.write(renderer_pb2.RenderSectionRequest(start=start_of(GOOD, **announced)))
            error = await refused(call)
            assert isinstance(error, errors.OptionNotSupported)
        late = stub.RenderSection(requests(start_of(GOOD), renderer_pb2.RenderSectionRequest(
            notes=renderer_pb2.Notes(notes=[note]))))  # fmt: skip
        assert isinstance(await refused(late), errors.InvalidField)


async def test_messages_out_of_order_are_refused(tmp_path: Path) -> None:
    start = renderer_pb2.RenderSectionRequest(start=start_of(GOOD))
    piece = audio_pb2.AudioChunk(
        format=audio_pb2.AudioFormat(sample_rate=48_000, channels=2, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE),
        frames=1, data=bytes(8),
    )  # fmt: skip
    sound = renderer_pb2.RenderSectionRequest(guide=piece)
    async with renderer(tmp_path) as (stub, _):
        for messages in ([], [sound, start], [start, start], [start, sound]):
            error = await refused(stub.RenderSection(iter(messages)))
            assert isinstance(error, errors.OutOfOrder), messages


async def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of(GOOD, model="musicgen-huge"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert isinstance(errors.from_rpc_error(caught.value), errors.ModelNotFound)


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "bars": st.integers(1, 40),
        "frames": st.integers(0, 2**40),
        "tail_frames": st.integers(0, 2**40),
        "sample_rate": st.integers(0, 192_000),
        "energy": st.lists(st.floats(0, 1), max_size=40).map(tuple),
        "metre": st.sampled_from([None, (1, 8), (16, 2), (5, 8)]).map(
            lambda pair: None if pair is None else dataclasses.replace(GOOD.metre, beats=pair[0], unit=pair[1])  # type: ignore[type-var]  # GOOD has a metre
        ),
        "chords": st.lists(st.sampled_from(GOOD.chords), max_size=6).map(tuple),
        "layers": st.lists(st.builds(Layer, st.sampled_from(list(LayerKind)[1:])), max_size=3).map(tuple),
    },
)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=FIELDS)
async def test_any_section_is_rendered_or_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    async with renderer(tmp_path) as (stub, backend):
        start = start_of(dataclasses.replace(GOOD, **fields))
        call = stub.RenderSection(requests(start))
        with contextlib.suppress(grpc.aio.AioRpcError):
            messages = [message async for message in call]
            assert messages[-1].finished.frames == codec.section_from_message(start.spec).frames
        assert await call.code() in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}, await call.details()
        assert backend.status().busy_slots == 0
