"""The sketch band is bit-exact: the same section and seed give the same bytes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.renderer import golden
from tests.renderer.rig import MIX, plan_of, play, renderer, section, start_of
from tests.renderer.tiny_font import tiny_pack, written_pack

from segue_music.plan import Kind, Neighbour, Role
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.sampled.pack import read_pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOFI = section("lofi, 20 seconds, 88 bpm", "motif", seed=3)
HOUSE = section("house with vocals, 20 seconds, 124 bpm", "motif", seed=3)


async def test_the_same_section_and_seed_give_the_same_bytes_on_another_server(tmp_path: Path) -> None:
    async with renderer(tmp_path / "a") as (stub, _):
        first = await play(stub, start_of(LOFI, stems=True, notes=True))
    async with renderer(tmp_path / "b") as (stub, _):
        await play(stub, start_of(HOUSE, stems=True))  # what was played before leaves no trace
        second = await play(stub, start_of(LOFI, stems=True, notes=True))
    assert first.digests() == second.digests()
    assert first.notes == second.notes
    assert first.accepted == second.accepted
    assert first.finished == second.finished


async def test_stems_notes_overlap_and_attempt_do_not_change_the_mix(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        plain = await play(stub, start_of(LOFI))
        rich = await play(stub, start_of(LOFI, stems=True, notes=True, overlap_frames=9_000, owner="somebody"))
    assert plain.digests()[MIX] == rich.digests()[MIX]
    assert len(rich.content) == len(LOFI.layers) + 2


async def test_sections_rendered_side_by_side_equal_those_rendered_alone(tmp_path: Path) -> None:
    async with renderer(tmp_path / "alone") as (stub, _):
        alone = [await play(stub, start_of(spec, stems=True)) for spec in (LOFI, HOUSE, LOFI, HOUSE)]
    async with renderer(tmp_path / "beside", slots=3) as (stub, _):
        beside = await asyncio.gather(*(play(stub, start_of(spec, stems=True)) for spec in (LOFI, HOUSE, LOFI, HOUSE)))
    assert [each.digests() for each in alone] == [each.digests() for each in beside]


async def test_another_seed_gives_another_take_of_the_same_length(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        one, two = await play(stub, start_of(LOFI, seed=1)), await play(stub, start_of(LOFI, seed=2))
    assert one.digests() != two.digests()
    assert len(one.content[MIX]) == len(two.content[MIX])


def stems_of(band: SketchBand, block_s: float) -> dict[str, bytes]:
    found: dict[str, list[bytes]] = {}
    for _, sounds in band.blocks(block_s):
        for name, sound in sounds.items():
            found.setdefault(name, []).append(sound.tobytes())
    return {name: b"".join(pieces) for name, pieces in found.items()}


def mix_of(band: SketchBand) -> NDArray[np.float32]:
    return np.concatenate([np.sum(list(sounds.values()), axis=0) for _, sounds in band.blocks()])


@settings(max_examples=12, deadline=None)
@given(
    block_s=st.floats(0.013, 3.0), genre=st.sampled_from(["lofi", "house", "ambient"]), loop=st.booleans(),
    is_sampled=st.booleans(),
)  # fmt: skip
def test_block_length_changes_no_bit(block_s: float, genre: str, loop: bool, is_sampled: bool) -> None:
    pack = tiny_pack() if is_sampled else None
    spec = section(f"{genre}, 9 seconds", "motif", seed=8, form=(Role.MOTIF,), sample_rate=22_050)
    spec = dataclasses.replace(spec, loop=loop)
    assert stems_of(SketchBand(spec, 3, pack), block_s) == stems_of(SketchBand(spec, 3, pack), 0.0)


def test_a_band_can_be_played_twice() -> None:
    band = SketchBand(HOUSE, 3)
    assert stems_of(band, 0.0) == stems_of(band, 0.4)


@pytest.mark.parametrize("genre", ["lofi", "techno", "cinematic"])
def test_the_end_of_a_loop_leads_into_its_start(genre: str) -> None:
    plan = plan_of(f"{genre} loop, 12 seconds", seed=4, form=(Role.MOTIF,), kind=Kind.LOOP)
    (item,) = plan.sections
    assert item.spec.loop
    # Even, so that the gain at the end is the one at the start.
    spec = dataclasses.replace(item.spec, energy=(0.6,) * item.spec.bars)
    band = SketchBand(spec, 5)
    assert band.tail_frames == spec.tail_frames
    loop = mix_of(band)[: spec.frames]
    goes_on = Neighbour(Role.MOTIF, spec.chords[0], spec.energy[0])
    once = SketchBand(dataclasses.replace(spec, loop=False, next=goes_on), 5)
    rings = mix_of(once)[spec.frames :]
    # A loop begins with its own beginning and the ring-out of its end.
    begins = mix_of(once)[: len(rings)]
    length = spec.sample_rate // 2
    # The record's crackle turns on by itself, and the kick pushes down what rings.
    if genre not in {"lofi", "techno"}:
        assert np.abs(loop[:length] - begins[:length] - rings[:length]).max() < 0.02
    seam = np.concatenate((loop[-2_000:], loop[:2_000])).astype(np.float64)
    bend = np.abs(np.diff(seam, 2, axis=0)).max(axis=1)
    usual = np.abs(np.diff(loop.astype(np.float64), 2, axis=0)).max()
    assert bend[1_990:2_010].max() <= usual
    assert np.abs(rings[:length]).max() > 1e-3


AVX2 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"}


def digests_of_another_process(environment: dict[str, str], *arguments: str) -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, "-W", "ignore:During parsing of:ImportWarning", "-m", "tests.renderer.golden", *arguments],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    digests: dict[str, str] = json.loads(result.stdout)
    return digests


@pytest.mark.parametrize("environment", [pytest.param({}, id="this CPU"), pytest.param(AVX2, id="AVX2")])
def test_six_pieces_have_the_expected_digests(environment: dict[str, str]) -> None:
    expected = json.loads(golden.FILE.read_text(encoding="utf-8"))
    assert digests_of_another_process(environment) == expected


def test_sampled_voices_give_the_same_bytes_on_another_cpu(tmp_path: Path) -> None:
    path = written_pack(tmp_path)
    here = golden.digests(golden.SAMPLED_PROMPTS, read_pack(path, digest="here"))
    assert digests_of_another_process(AVX2, "--pack", str(path)) == here
    assert not here.items() & golden.digests(golden.SAMPLED_PROMPTS).items()
