"""The filter loaded without scipy.signal equals that of scipy.signal to the bit."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import signal

from segue_audio import biquads
from segue_audio.loudness import k_weighting

ONLY_WHAT_IS_NEEDED = """
import sys
from segue_audio import loudness
loudness.warm()
assert not {"scipy.signal", "scipy.stats"} & set(sys.modules)
"""


@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 6), cuts=st.lists(st.integers(0, 700), max_size=4))
@hypothesis_settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("alone", [True, False])
def test_the_filter_equals_that_of_scipy_for_any_blocks(
    seed: int, channels: int, cuts: list[int], *, alone: bool
) -> None:
    biquads._compiled.cache_clear()  # noqa: SLF001 - the test chooses how it is loaded
    with pytest.MonkeyPatch.context() as patch:
        if not alone:
            patch.setattr(biquads, "_load_alone", lambda: None)
        random = np.random.default_rng(seed)
        sound = random.standard_normal((channels, 700)).astype(np.float32).astype(np.float64)
        sections = np.concatenate([k_weighting(48_000), k_weighting(44_100)])
        memory = random.standard_normal((4, channels, 2))
        expected, expected_memory = signal.sosfilt(sections, sound, axis=-1, zi=memory)
        before = memory.copy()
        bounds = [0, *sorted(cuts), 700]
        pieces = []
        for start, end in itertools.pairwise(bounds):
            piece, memory = biquads.sosfilt(sections, sound[:, start:end].astype(np.float32), memory)
            pieces.append(piece)
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), expected)
        np.testing.assert_array_equal(memory, expected_memory)
        assert before.shape == memory.shape
    biquads._compiled.cache_clear()  # noqa: SLF001 - for the next test


def test_this_scipy_has_the_function_alone_and_nothing_loads_the_rest() -> None:
    assert biquads._load_alone() is not None  # noqa: SLF001 - without it start-up would become slow unnoticed
    subprocess.run([sys.executable, "-c", ONLY_WHAT_IS_NEEDED], check=True, timeout=60)
