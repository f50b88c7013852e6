"""What a model's configurations say about it: its grid, its limits and its usual steps. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.plan import LayerTask
from segue_renderer.diffusion.folder import ACE_STEP, DiffusersFolder, Family, positive, product
from segue_renderer.diffusion.windows import LatentGrid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CONTEXT_S: Final = 10.0
"""The most audio of the earlier, and of the later section."""
ACE_STEP_SHORTEST_S: Final = 10.0
ACE_STEP_LONGEST_S: Final = 600.0
STABLE_AUDIO_SHORTEST_S: Final = 1.0
STABLE_AUDIO_LONGEST_S: Final = 380.0
TILE_S: Final = 20.0
"""Audio that is decoded at once: Stable Audio's decoder needs memory by the square of it."""
LONGEST_TILE_S: Final = 30.0
"""The longest tile of ACE-Step, whose decoder needs memory in proportion to it."""
CONVOLUTION_REACH: Final = 12
"""Latents beside a sample that the convolutions of ACE-Step's decoder can see."""
DISTILLED_STEPS: Final = 8


@dataclass(frozen=True)
class ModelFacts:
    """The sizes and habits of one model."""

    family: Family
    grid: LatentGrid
    channels: int
    is_distilled: bool
    """Few steps are enough, and guidance is part of the weights."""
    steps: int
    """Steps where nobody asks for a number."""
    guidance: float
    """Guidance where nobody asks for a value; 1 compares with nothing."""
    compares_beside_audio: bool
    """Guidance works where the audio of another section is given, too."""
    reads_negative_prompt: bool
    layer_tasks: tuple[LayerTask, ...]
    makes_batches: bool
    """Several sections can be made in one pass."""
    reach: int
    """Latents beside a tile that its audio depends on."""

    longest_tile_s: float
    """Audio that is decoded at once if it is all that is left."""

    @property
    def tile(self) -> int:
        """The latents that are decoded at once."""
        return max(1, round(TILE_S * self.grid.rate))

    @property
    def longest_tile(self) -> int:
        """The latents that are decoded at once if they are all that is left: a tile saves the audio around another."""
        return max(1, round(self.longest_tile_s * self.grid.rate))


def facts_of(folder: DiffusersFolder) -> ModelFacts:
    """Read the facts from a folder's configurations."""
    return _ace_step(folder) if folder.family is ACE_STEP else _stable_audio(folder)


def _ace_step(folder: DiffusersFolder) -> ModelFacts:
    vae, transformer = folder.configs["vae"], folder.configs["transformer"]
    hop = product(vae, "downsampling_ratios", [2, 4, 4, 6, 10], "vae")
    is_turbo = transformer.get("is_turbo") is True or transformer.get("model_version") == "turbo"
    return ModelFacts(
        family=folder.family,
        grid=_grid(vae, 48_000, hop, ACE_STEP_SHORTEST_S, ACE_STEP_LONGEST_S),
        channels=positive(vae, "audio_channels", 2, "vae"),
        is_distilled=is_turbo,
        steps=DISTILLED_STEPS if is_turbo else 50,
        guidance=1.0 if is_turbo else 7.0,
        compares_beside_audio=True,
        reads_negative_prompt=False,
        # By the authors' documentation only the base weights learned them.
        layer_tasks=() if is_turbo or transformer.get("model_version") == "sft" else (LayerTask.ADD, LayerTask.EXTRACT),
        makes_batches=False,
        reach=CONVOLUTION_REACH,
        longest_tile_s=LONGEST_TILE_S,
    )


def _stable_audio(folder: DiffusersFolder) -> ModelFacts:
    vae, embedder = folder.configs["vae"], folder.configs["duration_embedder"]
    hop = positive(vae, "patch_size", 256, "vae") * product(vae, "encoder_strides", [16], "vae")
    is_distilled = folder.configs["scheduler"].get("stochastic_sampling") is True
    longest = embedder.get("max_val", STABLE_AUDIO_LONGEST_S)
    longest = longest if isinstance(longest, int | float) and math.isfinite(longest) else STABLE_AUDIO_LONGEST_S
    try:
        layers = sum(int(each) for each in vae.get("encoder_transformer_depths", [6]))
    except (TypeError, ValueError, OverflowError):
        layers = 1
    return ModelFacts(
        family=folder.family,
        grid=_grid(vae, 44_100, hop, STABLE_AUDIO_SHORTEST_S, min(STABLE_AUDIO_LONGEST_S, max(1.0, longest))),
        channels=positive(vae, "audio_channels", 2, "vae"),
        is_distilled=is_distilled,
        steps=DISTILLED_STEPS if is_distilled else 100,
        guidance=1.0 if is_distilled else 6.0,
        compares_beside_audio=False,
        reads_negative_prompt=not is_distilled,
        layer_tasks=(),
        makes_batches=True,
        reach=min(256, layers * positive(vae, "sliding_window", 1, "vae") + 2),
        longest_tile_s=TILE_S,
    )


def _grid(vae: Mapping[str, Any], rate: int, hop: int, shortest_s: float, longest_s: float) -> LatentGrid:
    sample_rate = positive(vae, "sampling_rate", rate, "vae")
    latents = sample_rate / hop
    return LatentGrid(
        sample_rate=sample_rate,
        hop=hop,
        fewest=math.ceil(shortest_s * latents),
        most=max(1, math.floor(longest_s * latents)),
        context=math.floor(CONTEXT_S * latents),
    )
