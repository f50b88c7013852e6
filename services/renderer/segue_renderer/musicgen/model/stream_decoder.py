"""Decoding in pieces, exactly: the memory's state is carried on, and each piece waits for what it looks ahead to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from segue_renderer.musicgen.model.codec import Conv, Residual, Upward

if TYPE_CHECKING:
    from segue_renderer.musicgen.model.codec import Codec, State


class StreamDecoder:
    """Sound of one stream of codes. What `push` gives, put together, is what decoding all at once gives.

    Three stages: the first convolution looks `ahead` frames ahead; the LSTM looks back only, for ever, so its state is
    kept; the layers after it look `margin` frames to both sides, so that much of the LSTM's output is kept.
    """

    def __init__(self, codec: Codec, channels: int) -> None:
        self._codec = codec
        self._channels = channels
        self._back = codec.first.total_padding - codec.first.total_padding // 2
        self._ahead = codec.first.total_padding // 2
        self._margin = margin_frames(codec)
        hidden, width = codec.config.hidden_size, codec.first.weight.shape[0]
        self._embedded = _Kept(torch.zeros(channels, hidden, 0, device=codec.device))
        self._remembered = _Kept(torch.zeros(channels, width, 0, device=codec.device))
        self._state: State | None = None
        self._convolved = self._sounded = 0

    @property
    def look_ahead(self) -> int:
        """How many frames the sound lags behind the codes."""
        return self._ahead + self._margin

    def push(self, codes: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """Take codes (codebooks of all channels, frames), give the sound (channels, samples) that is certain now."""
        books = torch.stack([codes[channel :: self._channels] for channel in range(self._channels)])
        self._embedded.add(self._codec.embed(books.to(self._codec.device)))
        self._remember(self._embedded.end - (0 if last else self._ahead))
        sound = self._sound(self._remembered.end - (0 if last else self._margin))
        self._embedded.forget(self._convolved - self._back)
        self._remembered.forget(self._sounded - self._margin)
        return sound

    def _remember(self, end: int) -> None:
        if end <= self._convolved:
            return
        first, window = self._embedded.since(self._convolved - self._back)
        skip = self._convolved - first
        convolved = self._codec.first(window)[..., skip : skip + end - self._convolved]
        remembered, self._state = self._codec.memory.go_on(convolved, self._state)
        self._remembered.add(remembered)
        self._convolved = end

    def _sound(self, end: int) -> torch.Tensor:
        if end <= self._sounded:
            return torch.zeros(self._channels, 0)
        hop = self._codec.config.hop
        first, window = self._remembered.since(self._sounded - self._margin)
        skip = (self._sounded - first) * hop
        sound = self._codec.raise_rate(window)[:, skip : skip + (end - self._sounded) * hop]
        self._sounded = end
        return sound.cpu()


class _Kept:
    """The part of a sequence that is still needed."""

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
    """Return how many frames to either side the sound of one frame depends on, after the memory."""
    margin = 0  # at the rate of the layer's output, from the last layer to the first
    for layer in reversed(codec.upward):
        if isinstance(layer, Conv):
            margin += layer.total_padding - layer.total_padding // 2
        elif isinstance(layer, Residual):
            margin += sum(part.total_padding - part.total_padding // 2 for part in (layer.first, layer.second))
        elif isinstance(layer, Upward):
            kernel, stride = int(layer.weight.shape[2]), layer.stride
            trimmed = (kernel - stride) - (kernel - stride) // 2
            left = -math.ceil((trimmed - kernel + 1 - margin) / stride)
            right = (stride - 1 + margin + trimmed) // stride
            margin = max(left, right)
    return margin
