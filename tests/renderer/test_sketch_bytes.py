"""The sketch band's promise about bytes: same section and seed, same bytes, whatever happens around it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.renderer import golden
from tests.renderer.rig import MIX, play, renderer, section, start_of

LOFI = section("lofi, 20 seconds, 88 bpm", "motif", seed=3)
HOUSE = section("house with vocals, 20 seconds, 124 bpm", "motif", seed=3)


async def test_the_same_section_and_seed_give_the_same_bytes_in_another_process_life(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="this CPU"),
        pytest.param(
            {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"}, id="AVX2"
        ),
    ],
)
def test_six_pieces_have_the_digests_that_they_always_had(environment: dict[str, str]) -> None:
    expected = json.loads(golden.FILE.read_text(encoding="utf-8"))
    result = subprocess.run(
        [sys.executable, "-W", "ignore:During parsing of:ImportWarning", "-m", "tests.renderer.golden"],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout) == expected
