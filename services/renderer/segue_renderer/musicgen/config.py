"""The sizes of a model, however its checkpoint writes them down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

WEIGHTS_LICENSE: Final = "CC-BY-NC-4.0"
FRAMES_A_WINDOW: Final = 1500
"""What the published models were trained on: 30 s at 50 frames a second."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The language model over codes."""

    codebook_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    ffn_size: int
    num_codebooks: int
    channels: int
    prefix: bool = False
    """Melody models: the conditions stand before the codes, and there is no cross attention."""

    @property
    def head_size(self) -> int:
        """The width of one head."""
        return self.hidden_size // self.num_heads

    @property
    def pad(self) -> int:
        """The code that stands where a codebook has none."""
        return self.codebook_size

    @property
    def delays(self) -> tuple[int, ...]:
        """How many columns each codebook lags; the two channels of a pair share theirs."""
        return tuple(book // self.channels for book in range(self.num_codebooks))


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The T5 encoder."""

    vocab_size: int
    hidden_size: int
    head_size: int
    ffn_size: int
    num_layers: int
    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128
    epsilon: float = 1e-6


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """EnCodec."""

    sample_rate: int
    hidden_size: int
    num_filters: int
    ratios: tuple[int, ...]
    codebook_size: int
    num_codebooks: int
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    num_residual_layers: int = 1
    dilation_growth: int = 2
    compress: int = 2
    num_lstm_layers: int = 2
    conv_shortcut: bool = False

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return math.prod(self.ratios)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop


@dataclass(frozen=True, slots=True)
class MelodyConfig:
    """How a melody model hears its guide."""

    num_chroma: int = 12
    chroma_length: int = 235
    fft_size: int = 16_384
    hop: int = 4096


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """All of a model."""

    decoder: DecoderConfig
    text: TextConfig
    codec: CodecConfig
    melody: MelodyConfig | None = None
