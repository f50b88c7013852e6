"""An edit of one section changes its own frames, its two joins and no other bit, in draft and frozen master."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.mixer.mixer_server import RATE, Part, band, measured, mix_requests, mixed, rendered, with_mixer

from segue.mixer.v1 import mixer_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

FRAMES = RATE
BEAT = 24_000
TAIL = 10_000


def part(index: int, seed: int, *, hard: bool) -> Part:
    whole = band((FRAMES + TAIL) / RATE, seed)
    levels = {"declared_lufs": -14.0 - seed % 3, "target_lufs": -16.0 + index}
    return Part(f"s{index}", whole[:FRAMES], whole[FRAMES:], hard=hard, start=levels)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("edited", range(4))
async def test_bits_elsewhere_stay(stub: Stub, edited: int, hard: bool) -> None:
    parts = [part(index, index + 1, hard=hard) for index in range(4)]
    parts[-1] = replace(parts[-1], tail=parts[-1].tail[:0])
    again = list(parts)
    again[edited] = replace(part(edited, 77, hard=hard), tail=band(TAIL / RATE, 78) if edited < 3 else parts[-1].tail)
    before, after = [(await mixed(stub, mix_requests(each))).sound() for each in (parts, again)]
    first = edited * FRAMES
    # Its tail reaches into the next section.
    last = first + FRAMES + max(TAIL, min(BEAT, TAIL))
    assert np.array_equal(before[:first], after[:first])
    assert np.array_equal(before[last:], after[last:])
    assert not np.array_equal(before[first:last], after[first:last])


async def test_another_level_of_a_section_stays_in_it_too(stub: Stub) -> None:
    parts = [part(index, index + 1, hard=False) for index in range(3)]
    louder = [parts[0], replace(parts[1], start={**parts[1].start, "target_lufs": -8.0}), parts[2]]
    before, after = [(await mixed(stub, mix_requests(each))).sound() for each in (parts, louder)]
    assert np.array_equal(before[:FRAMES], after[:FRAMES])
    assert np.array_equal(before[2 * FRAMES + TAIL :], after[2 * FRAMES + TAIL :])


NUM_SECTIONS = 6
SECTION = 3 * RATE
PIECE: Sound = np.concatenate(
    [band(3, seed, level=level) for seed, level in enumerate((0.1, 0.3, 0.05, 0.4, 0.2, 0.1))]
)


def sections_of(targets: tuple[float, ...]) -> list[mixer_pb2.MasterSection]:
    return [
        mixer_pb2.MasterSection(
            section_id=f"s{index}", first_frame=index * SECTION, frames=SECTION, target_lufs=targets[index]
        )
        for index in range(NUM_SECTIONS)
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edited=st.integers(0, NUM_SECTIONS - 1),
    first=st.integers(0, SECTION - 1),
    seed=st.integers(50, 99),
    level=st.floats(0.0, 3.0),
    preset=st.sampled_from(
        [mixer_pb2.MASTER_PRESET_STREAMING, mixer_pb2.MASTER_PRESET_BROADCAST, mixer_pb2.MASTER_PRESET_CLUB]
    ),
)
def test_a_frozen_master_keeps_every_bit_a_second_away(
    tmp_path: Path, edited: int, first: int, seed: int, level: float, preset: mixer_pb2.MasterPreset.ValueType
) -> None:
    """The parent's measurement with an edited draft, from silence to far too loud."""
    start, end = edited * SECTION + first, (edited + 1) * SECTION
    draft = PIECE.copy()
    draft[start:end] = band(3, seed, level=level)[: end - start]
    sections = sections_of((-16.0, -14.0, -20.0, -12.0, -15.0, -18.0))

    async def both(stub: Stub) -> None:
        kept = await measured(stub, PIECE, mixer_pb2.MasterSettings(preset=preset), sections=sections)
        one = await rendered(stub, PIECE, kept, sections=sections)
        other = await rendered(stub, draft, kept, sections=sections)
        before, after = max(0, start - RATE), end + RATE
        assert np.array_equal(one.sound[:before], other.sound[:before])
        assert np.array_equal(one.sound[after:], other.sound[after:])
        assert not np.array_equal(one.sound[start:end], other.sound[start:end])
        # Its loudness is reported, not corrected; the ceiling holds.
        assert other.finished.loudness.true_peak_dbtp <= kept.settings.ceiling_dbtp
        missed = abs(other.finished.loudness.integrated_lufs - kept.settings.target_lufs) > 0.1
        assert missed == any(warning.code == "target_not_reached" for warning in other.finished.warnings)

    with_mixer(tmp_path, both)
