"""Sound decoded in pieces is the sound decoded whole, however it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.on_device import load

from segue_renderer.musicgen.checkpoint.tensors import Tensors
from segue_renderer.musicgen.config import CodecConfig
from segue_renderer.musicgen.model.codec import Codec
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder

if TYPE_CHECKING:
    from tests.engine.conftest import Checkpoint

    from segue_renderer.musicgen.loaded_model import LoadedModel


@pytest.fixture(scope="module")
def stereo(checkpoints: dict[str, Checkpoint]) -> LoadedModel:
    return load(checkpoints["stereo"].folder)


def codes_of(frames: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 64, (8, frames), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_any_cut_decodes_to_the_whole(stereo: LoadedModel, cuts: list[int], seed: int) -> None:
    codes = codes_of(sum(cuts), seed)
    whole = stereo.codec.decode(torch.stack([codes[0::2], codes[1::2]])).cpu()
    stream = StreamDecoder(stereo.codec, 2)
    parts, position = [], 0
    for index, cut in enumerate(cuts):
        part = stream.push(codes[:, position : position + cut], last=index == len(cuts) - 1)
        position += cut
        parts.append(part)
        if index < len(cuts) - 1:
            # All that can be certain is given, and no more.
            given_frames = sum(part.shape[1] for part in parts) // stereo.config.codec.hop
            assert given_frames == max(0, position - stream.look_ahead)
    joined = torch.cat(parts, dim=1)
    assert joined.shape == whole.shape
    assert (joined - whole).abs().max() <= 1e-5


def test_the_published_sizes_look_four_frames_ahead() -> None:
    config = CodecConfig(
        sample_rate=32_000, hidden_size=8, num_filters=2, ratios=(8, 5, 4, 4), codebook_size=16, num_codebooks=4
    )
    codec = Codec(config, RandomTensors(), torch.device("cpu"))
    stream = StreamDecoder(codec, 1)
    assert stream.look_ahead == 4
    codes = torch.randint(0, 16, (4, 200), generator=torch.Generator().manual_seed(3))
    sound = torch.cat([stream.push(codes[:, at : at + 10], last=at == 190) for at in range(0, 200, 10)], dim=1)
    assert (sound - codec.decode(codes[None])).abs().max() <= 1e-5


class RandomTensors(Tensors):
    """Weights of any shape."""

    def __init__(self) -> None:
        super().__init__("chance", {})
        self._chance = torch.Generator().manual_seed(1)

    def scoped(self, scope: str) -> Tensors:  # noqa: ARG002 - all scopes are alike
        return self

    def pop(self, name: str, *shape: int) -> torch.Tensor:  # noqa: ARG002 - all names are alike
        return torch.randn(shape, generator=self._chance) * 0.3
