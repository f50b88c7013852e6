"""Sections through the renderer's edge: streaming, windows, continuation, melody, warnings and refusals."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import torch
from tests.engine.serving import HOP, RATE, SPEC, play, serving, sound_messages, start_of

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import LayerKind, Motif, MotifNote, Note
from segue_music.plan import Continuity, MotifUse, SamplingHints, SectionSpec
from segue_renderer.backends import make_backend
from segue_renderer.musicgen import conditioning
from segue_renderer.musicgen.checkpoint.opening import open_model
from segue_runtime import errors
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


def noise(seconds: float, channels: int = 1, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal((round(seconds * RATE), channels)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
@pytest.mark.parametrize("layout", ["folder", "audiocraft"])
async def test_a_section_is_heard_before_it_is_complete_and_has_its_exact_length(
    kind: str, layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    spec = replace(SPEC, frames=2 * RATE + 77)
    async with serving(getattr(checkpoints[kind], layout), tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec, overlap_frames=333))
        again = await play(stub, start_of(spec, overlap_frames=333))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert (rendered.finished.frames, rendered.finished.tail_frames) == (2 * RATE + 77, 333)
    assert rendered.order.count("audio") > 3, "it comes in pieces"
    assert rendered.channels == (2 if kind == "stereo" else 1)
    assert np.array_equal(rendered.samples, again.samples), "the seed gives it again"
    assert np.isfinite(rendered.samples).all()
    assert rendered.samples.std() > 0.005
    assert rendered.accepted.profile == profile
    assert profile.weights_license == "CC-BY-NC-4.0"
    assert profile.real_time_factor > 0
    assert (rendered.finished.windows, rendered.finished.window_frames_used) == (1, 102)


async def test_pieces_are_the_whole_sound_decoded_at_once(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints["stereo"].folder, tmp_path, slots=1) as (stub, backend):
        rendered = await play(stub, start_of(replace(SPEC, frames=3 * RATE)))
        from segue_renderer.backend import RenderRequest
        from segue_renderer.musicgen.section import Limits, Section

        model = open_model(checkpoints["stereo"].folder)
        section = Section(model, RenderRequest(replace(SPEC, frames=3 * RATE), "", 7), Limits(1500, 900))
        section.prepare()
        from tests.engine.playing import play as play_alone

        job = section.job(0)
        codes = play_alone(model, [SPEC.prompt], 150, sampling=job.sampling)[0].codes
        assert backend.status().busy_slots == 0
    books = torch.from_numpy(codes)
    whole = model.codec.decode(torch.stack([books[0::2], books[1::2]])).numpy().T
    assert np.abs(whole - rendered.samples).max() <= 1e-4


async def test_longer_than_the_window_goes_on_by_strides_with_the_sections_own_prompt(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    spec = replace(SPEC, frames=4 * RATE)
    async with serving(checkpoints["mono"].folder, tmp_path, window=60, stride=36) as (stub, _):
        rendered = await play(stub, start_of(spec))
        short = await play(stub, start_of(replace(SPEC, frames=RATE)))
    # 200 frames: 60, then four times 36 minus what is left, each hearing 24.
    assert (rendered.finished.windows, rendered.finished.window_frames_used) == (5, 200 + 4 * 24)
    loud = [np.abs(rendered.samples[at : at + HOP * 5]).max() for at in range(0, 4 * RATE, HOP * 5)]
    assert min(loud) > 0, "nothing is made up of silence"
    assert np.array_equal(rendered.samples[: 40 * HOP], short.samples[: 40 * HOP]), "the same beginning"


async def test_a_section_goes_on_from_the_end_of_the_one_before(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    before = noise(0.5, 2)
    async with serving(checkpoints["stereo"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        start = start_of(conditioning_frames=len(before))
        heard = await play(stub, start, *sound_messages("conditioning", before))
        other = await play(stub, start, *sound_messages("conditioning", noise(0.5, 2, seed=1)))
        tiny = await play(stub, start_of(conditioning_frames=100), *sound_messages("conditioning", before[:100]))
    assert heard.finished.conditioning_applied
    assert heard.accepted.continuous
    assert heard.finished.window_frames_used == 50 + 25
    assert len(heard.samples) == len(plain.samples) == RATE, "what was heard is cut off again"
    assert not np.array_equal(heard.samples, plain.samples)
    assert not np.array_equal(heard.samples, other.samples)
    assert (tiny.finished.conditioning_applied, tiny.accepted.continuous) == (False, False)
    assert tiny.warnings == ["conditioning_too_short"]
    assert np.array_equal(tiny.samples, plain.samples)


async def test_more_conditioning_than_the_window_is_cut_and_said(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    before = noise(3)
    async with serving(checkpoints["mono"].folder, tmp_path, window=60, stride=36) as (stub, _):
        start = start_of(conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before))
        short = await play(
            stub,
            start_of(conditioning_frames=24 * HOP),
            *sound_messages("conditioning", before[-24 * HOP :]),
        )
    assert rendered.warnings == ["conditioning_cut"]
    assert rendered.finished.conditioning_applied
    assert np.array_equal(rendered.samples, short.samples), "it is the end that is heard"


def tone(pitch: int, seconds: float = 1.0) -> Any:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)).astype(np.float32)[:, None]


def notes_message(*notes: tuple[int, int, int]) -> renderer_pb2.RenderSectionRequest:
    message = renderer_pb2.RenderSectionRequest()
    for start, ticks, pitch in notes:
        codec.to_message(Note(LayerKind.LEAD, start, ticks, pitch, 90), message.notes.notes.add())
    return message


async def test_a_melody_is_followed_as_sound_and_as_notes(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    tune = tone(67)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        sung = await play(stub, start_of(guide_frames=len(tune)), *sound_messages("guide", tune))
        stereo = np.repeat(tune, 2, axis=1)
        wide = await play(stub, start_of(guide_frames=len(tune)), *sound_messages("guide", stereo))
        written = await play(stub, start_of(guide_notes=1), notes_message((0, 960 * 4, 67)))
        both = start_of(guide_notes=1, guide_frames=len(tune))
        together = await play(stub, both, notes_message((0, 960 * 4, 61)), *sound_messages("guide", tune))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert set(profile.guides) == {renderer_pb2.GUIDE_NOTES, renderer_pb2.GUIDE_MELODY_AUDIO}
    assert not plain.finished.guide_applied
    assert all(each.finished.guide_applied and not each.warnings for each in (sung, wide, written, together))
    assert not np.array_equal(sung.samples, plain.samples)
    assert np.array_equal(sung.samples, written.samples), "one G is one G"
    assert np.array_equal(sung.samples, wide.samples)
    assert np.array_equal(sung.samples, together.samples), "the sound goes before the notes"


async def test_a_guide_that_is_not_heard_is_reported(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    silence = np.zeros((RATE, 1), np.float32)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        late = await play(stub, start_of(guide_notes=1), notes_message((960 * 400, 960, 67)))
        silent = await play(stub, start_of(guide_frames=RATE), *sound_messages("guide", silence))
        planned = await play(stub, start_of(replace(SPEC, continuity=Continuity.MOTIF)))
    for rendered, said in ((late, "guide_not_used"), (silent, "guide_not_used"), (planned, "motif_not_used")):
        assert not rendered.finished.guide_applied
        assert rendered.warnings == [said]
        assert np.array_equal(rendered.samples, plain.samples)


async def test_a_guide_counts_from_the_sections_start_in_every_window_and_behind_what_is_heard_first(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C for a second, then G, then E; windows of 60 frames (1.2 s) that go on by 36."""
    heard: list[list[int]] = []

    def conditions_of(model: Any, prompt: str, limit: int, chroma: Any = None) -> Any:
        heard.append([] if chroma is None else chroma.argmax(dim=1).tolist())
        return conditioning.conditions_of(model, prompt, limit, chroma)

    monkeypatch.setattr("segue_renderer.musicgen.section.conditions_of", conditions_of)
    # The tiny model's frames of chroma are 0.32 s each.
    tune = np.concatenate([tone(60), tone(67), tone(64)])
    spec = replace(SPEC, frames=3 * RATE)
    before = noise(24 * HOP / RATE)
    notes = notes_message((0, 960 * 4, 60), (960 * 4, 960 * 4, 67), (960 * 8, 960 * 4, 64))
    async with serving(checkpoints["melody"].folder, tmp_path, window=60, stride=36) as (stub, _):
        heard.clear()
        await play(stub, start_of(spec, guide_notes=3), notes)
        plain, heard[:] = list(heard), []
        start = start_of(spec, guide_notes=3, conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before), notes)
        shifted, heard[:] = list(heard), []
        start = start_of(spec, guide_frames=len(tune), conditioning_frames=len(before))
        await play(stub, start, *sound_messages("conditioning", before), *sound_messages("guide", tune))
    assert rendered.finished.conditioning_applied
    assert rendered.finished.guide_applied
    # Windows from 0 s, 0.72, 1.44, 2.16; then with 0.48 s before: from -0.48 s, 0.24, 0.96, 1.68, 2.4.
    expected = [[0, 0, 0, 0], [0, 7, 7, 7], [7, 7, 4, 4], [4, 4, 4]]
    assert plain == expected
    assert [row[0] for row in shifted] == [0, 0, 0, 7, 4]
    assert shifted[0] == [0, 0, 0, 0]
    assert shifted[1] == [0, 0, 0, 7]
    # The same as sound; its spectrum at 0.96 s hears more of what comes than of what was.
    assert [row[0] for row in heard] == [0, 0, 7, 7, 4]


async def test_what_is_not_done_is_said(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    spec = replace(SPEC, prompt="soft keys and a slow beat " * 60, negative_prompt="drums")
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec))
    assert rendered.warnings == ["prompt_truncated", "negative_prompt_not_used"]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingHints(top_k=0),
        SamplingHints(guidance=0),
        SamplingHints(guidance=1),
        SamplingHints(temperature=0.5, top_p=0.9),
    ],
)
async def test_sampling_hints_are_honoured(
    sampling: SamplingHints, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        rendered = await play(stub, start_of(replace(SPEC, sampling=sampling)))
    assert not np.array_equal(plain.samples, rendered.samples) or sampling == SamplingHints(top_k=0)
    assert rendered.warnings == []


async def test_a_cancelled_call_frees_its_slot_for_the_next(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    half_an_hour = replace(SPEC, frames=1800 * RATE)
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, backend):
        call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(half_an_hour))]))
        async for message in call:
            if message.WhichOneof("message") == "audio":
                break
        assert backend.status().busy_slots == 1
        waiting = asyncio.create_task(play(stub, start_of()))
        call.cancel()
        # The slot is the only one: this ends only when the long one, half an hour of music, has gone.
        assert len((await waiting).samples) == RATE
        assert (backend.status().busy_slots, backend.status().queued) == (0, 0)


async def test_who_waits_hears_its_place_in_the_line(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    half_an_hour = replace(SPEC, frames=1800 * RATE)
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1) as (stub, _):

        def begin(spec: SectionSpec) -> Any:
            return stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(spec))]))

        async def next_of(call: Any, kind: str) -> Any:
            async for message in call:
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)
            raise AssertionError(f"it ended without {kind}")

        first = begin(half_an_hour)
        await next_of(first, "audio")
        second, third = begin(half_an_hour), begin(SPEC)
        places = [(await next_of(call, "accepted")).queue_position for call in (second, third)]
        assert sorted(places) == [1, 2], "one waits for the slot, one for that one, too"
        last = third if places[1] == 2 else second
        while (told := await next_of(last, "progress")).queue_position != 2:
            pass
        assert told.frames_done == 0
        (second if last is third else third).cancel()
        while (await next_of(last, "progress")).queue_position != 1:
            pass
        first.cancel()
        assert (await next_of(last, "audio")).first_frame == 0


REFUSED: dict[str, tuple[Any, tuple[Any, ...], grpc.StatusCode, type[errors.SegueError]]] = {
    "another rate": (
        start_of(conditioning_frames=4000),
        tuple(sound_messages("conditioning", noise(4000 / RATE), 48_000)),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.InvalidAudio,
    ),
    "other channels": (
        start_of(conditioning_frames=4000),
        tuple(sound_messages("conditioning", noise(4000 / RATE, 2))),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.InvalidAudio,
    ),
    "no length": (start_of(replace(SPEC, frames=0)), (), grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidField),
    "stems": (start_of(stems=True), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "notes": (start_of(notes=True), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "a guide": (start_of(guide_frames=9), (), grpc.StatusCode.INVALID_ARGUMENT, errors.OptionNotSupported),
    "another model": (start_of(model="bark"), (), grpc.StatusCode.NOT_FOUND, errors.ModelNotFound),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_played_is_refused(what: str, checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    start, more, code, kind = REFUSED[what]
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start, *more)
        assert (caught.value.code(), type(errors.from_rpc_error(caught.value))) == (code, kind)
        assert len((await play(stub, start_of())).samples) == RATE, "others are served"


SETTINGS: dict[str, tuple[dict[str, Any], type[errors.SegueError], str]] = {
    "no folder": ({"model": ""}, errors.ModelNotInstalled, "give the folder"),
    "no such GPU": ({"model": "x", "device": "cuda:7"}, errors.DeviceRequired, "not here; use cpu"),
    "a device nobody knows": ({"model": "x", "device": "tpu"}, errors.DeviceRequired, "use cpu"),
    "fp16 on the CPU": ({"model": "x", "device": "cpu", "precision": "fp16"}, errors.DeviceRequired, "bf16 or int8"),
    "sketch with a precision": ({"backend": "sketch", "precision": "int8"}, errors.OptionNotSupported, "sketch"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_settings_that_cannot_be_met_say_what_to_do(what: str, tmp_path: Path) -> None:
    given, kind, said = SETTINGS[what]
    with pytest.raises(kind, match=said):
        make_backend(replace(Settings(home=tmp_path).renderer, **{"backend": "musicgen", **given}))


async def test_more_slots_than_memory_are_refused_at_load(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    with pytest.raises(errors.OutOfMemory, match="do not fit"):
        async with serving(checkpoints["mono"].folder, tmp_path, slots=256, window=2_000_000, stride=900):
            pass


@pytest.mark.parametrize(("precision", "worst"), [("bf16", 0.1), ("int8", 0.1)])
async def test_lower_precisions_play_and_their_logits_stay_near(
    precision: str, worst: float, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    from tests.engine.playing import play as play_alone

    folder = checkpoints["mono"].folder
    exact, near = (play_alone(open_model(folder, precision=one), [SPEC.prompt], 20)[0] for one in ("fp32", precision))
    error = (near.logits[0] - exact.logits[0]).norm() / exact.logits[0].norm()
    assert 0 < error < worst
    async with serving(folder, tmp_path, precision=precision) as (stub, _):
        rendered = await play(stub, start_of())
        together = await asyncio.gather(*(play(stub, start_of(seed=seed)) for seed in (1, 7, 3)))
    assert rendered.accepted.profile.engine_version.endswith(precision)
    # The sum of a row does not depend on its neighbours, though the kernel may choose another order for more rows.
    assert len(together[1].samples) == len(rendered.samples)


async def test_a_melody_model_hears_the_plans_motif_when_the_section_uses_it(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    motif = Motif((MotifNote(0, 960, 5), MotifNote(960, 960, 3)), 1920)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of(replace(SPEC, motif=motif)))
        stated = await play(stub, start_of(replace(SPEC, motif=motif, motif_use=MotifUse.STATE)))
        used = replace(SPEC, motif=motif, motif_use=MotifUse.STATE)
        planned = await play(stub, start_of(replace(used, continuity=Continuity.MOTIF)))
        unwanted = await play(stub, start_of(replace(used, continuity=Continuity.NONE)))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert not np.array_equal(plain.samples, stated.samples)
    assert np.array_equal(planned.samples, stated.samples)
    assert np.array_equal(unwanted.samples, plain.samples)
    applied = [rendered.finished.guide_applied for rendered in (plain, stated, planned, unwanted)]
    assert applied == [False, True, True, False]
    assert music_pb2.CONTINUITY_MOTIF in profile.continuities
    assert profile.memory_bytes > 1_000_000
