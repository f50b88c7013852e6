"""The sizes of a model, the same for both published layouts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

WEIGHTS_LICENSE: Final = "CC-BY-NC-4.0"
FRAMES_A_WINDOW: Final = 1500
"""The window that the published models were trained on: 30 s at 50 frames a second."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The decoder: a language model over codes."""

    codebook_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    ffn_size: int
    num_codebooks: int
    channels: int
    prefix: bool = False
    """True for melody models: the conditions come before the codes, and there is no cross attention."""

    @property
    def head_size(self) -> int:
        """The width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def pad(self) -> int:
        """The code that fills places without a code."""
        return self.codebook_size

    @property
    def delays(self) -> tuple[int, ...]:
        """Each codebook's delay in columns; the two channels of a pair share one."""
        return tuple(book // self.channels for book in range(self.num_codebooks))


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The T5 text encoder."""

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
    """The EnCodec codec."""

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
        """Samples in one frame."""
        return math.prod(self.ratios)

    @property
    def frame_rate(self) -> float:
        """Frames in one second."""
        return self.sample_rate / self.hop


@dataclass(frozen=True, slots=True)
class MelodyConfig:
    """The chroma of a melody model's guide."""

    num_chroma: int = 12
    chroma_length: int = 235
    fft_size: int = 16_384
    hop: int = 4096


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The sizes of all parts of a model."""

    decoder: DecoderConfig
    text: TextConfig
    codec: CodecConfig
    melody: MelodyConfig | None = None
