"""Bounds of takes: a take that misses its tempo is rendered again with another seed, before anybody hears it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec
from tests.mesh.test_mesh_beats import pieces

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_client.errors import SegueError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from tests.mesh.faulty_renderer import Response, Responses

    from segue.renderer.v1 import renderer_pb2
    from segue_client import Client

RATE = 48_000
BOUNDS = spec_pb2.TakeBounds(tempo_percent=4.0, most_redos=2)
PIECE = "house, 120 bpm, A minor, intro verse chorus"
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT


def drums(frames: int, beats_per_minute: float, seed: int) -> NDArray[np.float32]:
    """Return a kick on every beat and a softer click between."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE // 5) / RATE
    kick = np.sin(2 * np.pi * 60 * time_s) * np.exp(-time_s * 25) + rng.normal(0, 0.3, len(time_s)) * np.exp(
        -time_s * 90
    )
    sound = np.zeros(frames + RATE)
    for beat, start in enumerate(np.arange(0, frames, 60 * RATE / beats_per_minute).astype(int)):
        sound[start : start + len(kick)] += kick * (0.5 if beat % 4 == 0 else 0.35)
    return np.repeat(sound[:frames, None], 2, axis=1).astype(np.float32)


def misses(seed: int) -> bool:
    """Return whether the drummer is too fast with a seed."""
    return seed % 2 == 1


class Drummer:
    """A renderer that plays 134 instead of 120 beats a minute with some seeds."""

    def __init__(self, *, never_right: bool = False) -> None:
        self.never_right = never_right
        self.seeds: dict[str, list[int]] = {}

    async def play(self, _call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        """Replace the band's audio."""
        self.seeds.setdefault(start.spec.section_id, []).append(start.seed)
        template: Response | None = None
        async for response in responses:
            kind = response.WhichOneof("message")
            if kind == "accepted":
                response.accepted.sample_locked = response.accepted.continuous = False
                response.accepted.ClearField("declared_lufs")
            if kind == "audio":
                template = template or response
                continue
            if kind == "finished":
                assert template is not None
                length = response.finished.frames + response.finished.tail_frames
                is_fast = self.never_right or misses(start.seed)
                for piece in pieces(template, drums(length, 134.0 if is_fast else 120.0, start.seed)):
                    yield piece
            yield response


def redone(heard: Heard) -> list[stream_pb2.SectionRetried]:
    return [each.event.section_retried for each in heard.updates if each.kind == "section_retried"]


async def manifest(client: Client, composition: composition_pb2.Composition, folder: Path) -> dict[str, object]:
    output = next(each for each in composition.outputs if each.kind == composition_pb2.OUTPUT_KIND_MANIFEST)
    await client.download(output, folder / "manifest.json")
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return found


@pytest.mark.timeout(240)
async def test_takes_that_miss_their_tempo_are_rendered_again_before_they_are_heard(tmp_path: Path) -> None:
    asked = spec(PIECE, seconds=24, seed=5, take_bounds=BOUNDS)
    drafts: list[bytes] = []
    for home in ("first", "second"):
        drummer = Drummer()
        (tmp_path / home).mkdir()
        async with (
            faulty_renderer(tmp_path / home, drummer.play) as renderer,
            embedded(tmp_path / home, {"renderer.addresses": renderer.address}) as (_, client),
        ):
            heard = await hear(client.compose(asked, audio=DRAFT))
            composition = heard.composition
            written = await manifest(client, composition, tmp_path / home)
            again = await hear(client.compose(asked, audio=DRAFT))
        assert composition.state == composition_pb2.STATE_SUCCEEDED
        fast = {section_id for section_id, seeds in drummer.seeds.items() if misses(seeds[0])}
        assert fast
        for section_id, seeds in drummer.seeds.items():
            assert seeds == ([seeds[0], seeds[0] + 1] if section_id in fast else [seeds[0]])
        found = redone(heard)
        assert {each.section_id for each in found} == fast
        for each in found:
            assert each.redo
            assert each.seed == drummer.seeds[each.section_id][1]
            assert "TAKE_OUT_OF_BOUNDS" in str(each.error)
            assert "134" in each.error.message
            assert "120.0" in each.error.message
        assert {each.section_id for each in composition.sections if each.redos == 1} == fast
        # The plan, and with it the manifest, has the seeds of the takes that are heard.
        seeds_used = {item.spec.section_id: item.seed for item in composition.plan.sections}
        assert all(seeds_used[section_id] == drummer.seeds[section_id][-1] for section_id in fast)
        assert "take_bounds" not in str(written["spec"])
        # The second time all takes are stored. They are measured again, so that the same ones are used.
        assert again.draft == heard.draft
        assert {each.section_id for each in redone(again)} == fast
        drafts.append(bytes(heard.draft))
    assert drafts[0] == drafts[1]


@pytest.mark.timeout(240)
async def test_the_last_take_is_used_with_a_warning(tmp_path: Path) -> None:
    drummer = Drummer(never_right=True)
    async with (
        faulty_renderer(tmp_path, drummer.play) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await hear(client.compose(spec(PIECE, seconds=16, seed=5, take_bounds=BOUNDS), audio=DRAFT))
        seeds = {section_id: list(each) for section_id, each in drummer.seeds.items()}
        plain = await hear(client.compose(spec(PIECE, seconds=16, seed=6), audio=DRAFT))
    assert all(each == [each[0], each[0] + 1, each[0] + 2] for each in seeds.values()), seeds
    assert {each.redos for each in heard.composition.sections} == {2}
    warned = [each for each in heard.composition.warnings if each.code == "out_of_bounds"]
    assert {each.section_id for each in warned} == {each.section_id for each in heard.composition.sections}
    assert all("134" in each.text for each in warned)
    # Without bounds nothing is rendered again.
    assert not redone(plain)


async def test_the_band_keeps_its_tempo_and_is_not_measured(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        bounds = spec_pb2.TakeBounds(tempo_percent=0.1, key=True)
        heard = await hear(client.compose(spec(seconds=8, take_bounds=bounds), audio=DRAFT))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert not redone(heard)
        tight = spec_pb2.TakeBounds(level_lu=1e-6, most_redos=1)
        heard = await hear(client.compose(spec(seconds=8, take_bounds=tight), audio=DRAFT))
        assert {each.redos for each in heard.composition.sections} == {1}
        assert all("LU" in each.error.message for each in redone(heard))
        for wrong in (spec_pb2.TakeBounds(most_redos=2), spec_pb2.TakeBounds(key=True, most_redos=9)):
            with pytest.raises(SegueError) as caught:
                await hear(client.compose(spec(seconds=8, take_bounds=wrong), audio=DRAFT))
            assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
            assert "take_bounds" in str(caught.value)
