"""Decodes codes chunk by chunk, with the same result as decoding all at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from segue_renderer.musicgen.model.codec import Conv, ResidualBlock, UpsampleConv

if TYPE_CHECKING:
    from segue_renderer.musicgen.model.codec import Codec, LstmState


class StreamDecoder:
    """The audio of one stream of codes. The chunks that `push` returns join to the audio of the whole.

    Three stages: the first convolution needs `ahead` later frames. The LSTM needs all earlier frames, so its state is
    kept. The layers after it need `margin` frames on both sides, so as many frames of the LSTM's output are kept.
    """

    def __init__(self, codec: Codec, channels: int) -> None:
        self._codec = codec
        self._channels = channels
        self._back = codec.first.total_padding - codec.first.total_padding // 2
        self._ahead = codec.first.total_padding // 2
        self._margin = margin_frames(codec)
        hidden, width = codec.config.hidden_size, codec.first.weight.shape[0]
        self._embedded = _FrameWindow(torch.zeros(channels, hidden, 0, device=codec.device))
        self._recurrent = _FrameWindow(torch.zeros(channels, width, 0, device=codec.device))
        self._state: LstmState | None = None
        self._convolved = self._decoded = 0

    @property
    def look_ahead(self) -> int:
        """The delay of the audio behind the codes, in frames."""
        return self._ahead + self._margin

    def push(self, codes: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """Add codes (codebooks of all channels, frames); return the audio (channels, samples) that is final now."""
        books = torch.stack([codes[channel :: self._channels] for channel in range(self._channels)])
        self._embedded.add(self._codec.embed(books.to(self._codec.device)))
        self._run_lstm(self._embedded.end - (0 if last else self._ahead))
        sound = self._decode(self._recurrent.end - (0 if last else self._margin))
        self._embedded.forget(self._convolved - self._back)
        self._recurrent.forget(self._decoded - self._margin)
        return sound

    def _run_lstm(self, end: int) -> None:
        if end <= self._convolved:
            return
        first, window = self._embedded.since(self._convolved - self._back)
        skip = self._convolved - first
        convolved = self._codec.first(window)[..., skip : skip + end - self._convolved]
        recurrent, self._state = self._codec.lstm.advance(convolved, self._state)
        self._recurrent.add(recurrent)
        self._convolved = end

    def _decode(self, end: int) -> torch.Tensor:
        if end <= self._decoded:
            return torch.zeros(self._channels, 0)
        hop = self._codec.config.hop
        first, window = self._recurrent.since(self._decoded - self._margin)
        skip = (self._decoded - first) * hop
        sound = self._codec.raise_rate(window)[:, skip : skip + (end - self._decoded) * hop]
        self._decoded = end
        return sound.cpu()


class _FrameWindow:
    """The frames of a sequence that are still needed."""

    def __init__(self, empty: torch.Tensor) -> None:
        self._held = empty
        self._first = 0

    @property
    def end(self) -> int:
        return self._first + int(self._held.shape[-1])

    def add(self, more: torch.Tensor) -> None:
        self._held = torch.cat([self._held, more], dim=-1)

    def since(self, first: int) -> tuple[int, torch.Tensor]:
        first = max(first, self._first)
        return first, self._held[..., first - self._first :]

    def forget(self, before: int) -> None:
        if before > self._first:
            self._held = self._held[..., before - self._first :].clone()
            self._first = before


def margin_frames(codec: Codec) -> int:
    """Return how many frames on either side the audio of one frame depends on, after the LSTM."""
    margin = 0  # at the rate of the layer's output, from the last layer to the first
    for layer in reversed(codec.upward):
        if isinstance(layer, Conv):
            margin += layer.total_padding - layer.total_padding // 2
        elif isinstance(layer, ResidualBlock):
            margin += sum(part.total_padding - part.total_padding // 2 for part in (layer.first, layer.second))
        elif isinstance(layer, UpsampleConv):
            kernel, stride = int(layer.weight.shape[2]), layer.stride
            trimmed = (kernel - stride) - (kernel - stride) // 2
            left = -math.ceil((trimmed - kernel + 1 - margin) / stride)
            right = (stride - 1 + margin + trimmed) // stride
            margin = max(left, right)
    return margin
