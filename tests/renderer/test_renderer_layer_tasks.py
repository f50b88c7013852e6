"""One layer instead of a section: it reaches the backend with the mix, or is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.renderer.rig import play as play_sketch
from tests.renderer.rig import renderer, section, start_of
from tests.renderer.scripted_backend import RATE, noise
from tests.renderer.test_renderer_inputs import SPEC, play, refusal, scripted, sound

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music.elements import LayerKind
from segue_music.plan import LayerTask
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

ADD, EXTRACT = renderer_pb2.LAYER_TASK_ADD, renderer_pb2.LAYER_TASK_EXTRACT
MIX = noise(RATE)
"""As long as the section."""
TASK: dict[str, Any] = {"layer_task": ADD, "task_layer": music_pb2.LAYER_KIND_BASS, "mix_frames": RATE}
GOOD = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
pytestmark = pytest.mark.timeout(60)


async def test_the_mix_and_the_layer_reach_the_backend(tmp_path: Path) -> None:
    async with scripted(tmp_path, layer_tasks=(1, 2)) as (stub, backend):
        for task in (ADD, EXTRACT):
            await play(stub, start_of(SPEC, **{**TASK, "layer_task": task}), *sound("mix", MIX.samples))
        tail = noise(RATE + RATE // 4, seed=2).samples
        start = start_of(SPEC, **{**TASK, "mix_frames": len(tail)}, overlap_frames=SPEC.sample_rate // 4)
        await play(stub, start, *sound("mix", tail))
        await play(stub, start_of(SPEC))
    added, extracted, with_tail, plain = backend.requests
    assert (added.layer_task, added.task_layer) == (LayerTask.ADD, LayerKind.BASS)
    assert extracted.layer_task is LayerTask.EXTRACT
    for request, samples in ((added, MIX.samples), (with_tail, tail)):
        assert request.mix is not None
        np.testing.assert_array_equal(request.mix.samples, samples)
    assert (plain.layer_task, plain.mix) == (LayerTask.UNSPECIFIED, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layer_task": EXTRACT}, errors.OptionNotSupported),
        ({"layer_task": 9}, errors.InvalidField),
        ({"layer_task": 0}, errors.InvalidField),
        ({"task_layer": 0}, errors.InvalidField),
        ({"mix_frames": 0}, errors.InvalidField),
        ({"mix_frames": RATE - 1}, errors.InvalidField),
        ({"mix_frames": RATE + 1}, errors.InvalidField),
        ({"mix_frames": -1}, errors.InvalidField),
        ({"stems": True}, errors.InvalidField),
        ({"notes": True}, errors.InvalidField),
        ({"conditioning_frames": 10}, errors.InvalidField),
        ({"following_frames": 10}, errors.InvalidField),
    ],
)
async def test_a_task_that_is_not_possible_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], expected: type[errors.SegueError]
) -> None:
    able = {"gives_notes": True, "layers": (2,), "conditioning_ns": 10**9, "following_ns": 10**9}
    async with scripted(tmp_path, layer_tasks=(1,), **able) as (stub, backend):
        error = await refusal(stub, start_of(SPEC, **{**TASK, **changes}))
    assert isinstance(error, expected)
    assert any(name in f"{error} {error.metadata} {error.violations}" for name in (*changes, "layer_task"))
    assert not backend.requests


async def test_a_mix_at_another_rate_or_with_other_channels_is_refused(tmp_path: Path) -> None:
    async with scripted(tmp_path, layer_tasks=(1,)) as (stub, backend):
        slow = list(sound("mix", MIX.samples))
        for message in slow:
            message.mix.format.sample_rate = 8_000
        wide = np.repeat(MIX.samples, 3, axis=1)
        for messages in (slow, sound("mix", wide)):
            assert isinstance(await refusal(stub, start_of(SPEC, **TASK), *messages), errors.InvalidAudio)
    assert not backend.requests


async def test_the_band_adds_the_stem_that_the_section_has(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        whole = await play_sketch(stub, start_of(GOOD, stems=True))
        stem = whole.samples("bass")
        mix = (whole.samples() - stem)[: GOOD.frames]
        given = {"layer_task": ADD, "task_layer": music_pb2.LAYER_KIND_BASS, "mix_frames": len(mix)}
        without = replace(GOOD, layers=tuple(each for each in GOOD.layers if each.kind is not LayerKind.BASS))
        found = []
        for spec in (GOOD, without):
            start = start_of(spec, **given)
            call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start), *mix_messages(mix, spec)]))
            answers = [message async for message in call]
            content = b"".join(each.audio.data for each in answers if each.HasField("audio"))
            assert [each.code for each in answers[-1].finished.warnings] == ["mix_not_used"]
            found.append(np.frombuffer(content, "<f4").reshape(-1, 2))
    assert len(stem) == whole.finished.frames + whole.finished.tail_frames if whole.finished else False
    np.testing.assert_array_equal(found[0], stem)
    assert found[1].any(), "a section without the layer gets it"


def mix_messages(mix: Any, spec: Any) -> Any:
    from segue_renderer.conformance.input_checks import audio_messages

    return audio_messages("mix", mix, spec.sample_rate)
