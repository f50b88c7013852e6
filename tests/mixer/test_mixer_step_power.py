"""The fast K-weighted power of steps: it agrees with the meter, and its memory ends after two blocks."""

from __future__ import annotations

import numpy as np
import pytest
from tests.mixer.mixer_server import band

from segue_audio.biquads import sosfilt
from segue_audio.loudness import channel_weights, k_weighting
from segue_mixer.master.control_grid.step_power import StepPower
from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, step_frames


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_power_agrees_with_the_filter_of_the_standard(rate: int, channels: int) -> None:
    step = step_frames(rate)
    sound = band(5 * BLOCK_FRAMES / rate, 3, rate=rate, channels=channels)[: 5 * BLOCK_FRAMES]
    # An offset would show the errors of a high-pass in single precision.
    planar = np.ascontiguousarray(sound.T) + np.float32(0.25)
    filtered, _ = sosfilt(k_weighting(rate), planar, np.zeros((2, channels, 2)))
    squares = np.square(filtered).reshape(channels, -1, step).mean(axis=2)
    expected = np.array(channel_weights(channels)) @ squares
    power = StepPower(rate, channels, step, BLOCK_FRAMES)
    found = np.concatenate([power.push(block) for block in np.split(planar, 5, axis=1)])
    assert np.allclose(found, expected, rtol=2e-5, atol=1e-6)
    settled = slice(len(expected) // 5, None)
    assert found[settled].mean() == pytest.approx(expected[settled].mean(), rel=1e-5)


def test_after_two_blocks_earlier_audio_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    same = [np.asarray(rng.normal(0, 0.1, (2, BLOCK_FRAMES)), np.float32) for _ in range(4)]
    powers = []
    for level in (0.3, 0.0):
        power = StepPower(48_000, 2, 32, BLOCK_FRAMES)
        first = np.asarray(rng.normal(0, level, (2, BLOCK_FRAMES)), np.float32)
        powers.append([power.push(block) for block in (first, *same)])
    assert not np.array_equal(powers[0][1], powers[1][1])
    assert all(np.array_equal(one, other) for one, other in zip(powers[0][2:], powers[1][2:], strict=True))
