"""An edit of one section changes its own frames and its two joins, and no bit elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.mixer.mixer_room import RATE, Part, band, mix_requests, mixed

if TYPE_CHECKING:
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
    # Its tail rings into the next section: over the crossfade, or as long as it is.
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
