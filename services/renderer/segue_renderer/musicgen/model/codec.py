"""EnCodec: decodes codes to audio and encodes audio to codes, in fp32 (not TF32), as a list of plain layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from segue_renderer.musicgen.checkpoint.tensors import Tensors
    from segue_renderer.musicgen.config import CodecConfig

LstmState: TypeAlias = tuple[torch.Tensor, torch.Tensor]


@dataclass
class Conv:
    """A convolution that keeps the length (divided by its stride); its input is mirrored at both ends."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int = 1
    dilation: int = 1

    @property
    def total_padding(self) -> int:
        """The samples that the kernel covers beyond its stride."""
        return int(self.weight.shape[2] - 1) * self.dilation + 1 - self.stride

    def __call__(self, sound: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        length, right = sound.shape[-1], self.total_padding // 2
        # The last stride may be incomplete; it is padded.
        right += -length % self.stride
        return self.bare(_mirror(sound, self.total_padding - self.total_padding // 2, right))

    def bare(self, padded: torch.Tensor) -> torch.Tensor:
        """Convolve input that is padded already."""
        return functional.conv1d(padded, self.weight, self.bias, self.stride, dilation=self.dilation)


@dataclass
class UpsampleConv:
    """A transposed convolution: `stride` output samples for each input sample."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int

    def __call__(self, sound: torch.Tensor) -> torch.Tensor:
        """Convolve and trim both ends."""
        padding = self.weight.shape[2] - self.stride
        right = padding // 2
        grown = functional.conv_transpose1d(sound, self.weight, self.bias, self.stride)
        return grown[..., padding - right : grown.shape[-1] - right]


@dataclass
class ResidualBlock:
    """Two convolutions with a shortcut."""

    first: Conv
    second: Conv
    shortcut: Conv | None

    def __call__(self, sound: torch.Tensor) -> torch.Tensor:
        """Add both paths."""
        inner = self.second(functional.elu(self.first(functional.elu(sound))))
        return (self.shortcut(sound) if self.shortcut is not None else sound) + inner


class Lstm:
    """The LSTM between the convolutions; a stream carries its state from chunk to chunk."""

    def __init__(self, tensors: Tensors, width: int, num_layers: int) -> None:
        # In training mode each call would keep what only gradients need.
        self._lstm = torch.nn.LSTM(width, width, num_layers).requires_grad_(requires_grad=False).eval()
        shapes = {name: tuple(parameter.shape) for name, parameter in self._lstm.named_parameters()}
        self._lstm.load_state_dict({name: tensors.pop(f"lstm.{name}", *shape) for name, shape in shapes.items()})

    def to(self, device: torch.device) -> Lstm:
        """Move to a device."""
        self._lstm.to(device)
        return self

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Run from an empty state."""
        return self.advance(states, None)[0]

    def advance(self, states: torch.Tensor, before: LstmState | None) -> tuple[torch.Tensor, LstmState]:
        """Run from the state of the chunk before."""
        turned = states.permute(2, 0, 1)
        recurrent, after = self._lstm(turned, before)
        return (recurrent + turned).permute(1, 2, 0), after


class Codec:
    """Encoder, codebooks and decoder."""

    def __init__(self, config: CodecConfig, tensors: Tensors, device: torch.device) -> None:
        self.config = config
        self.device = device
        books = [
            tensors.pop(f"quantizer.layers.{book}.codebook.embed", config.codebook_size, config.hidden_size)
            for book in range(config.num_codebooks)
        ]
        self._books = torch.stack(books).to(device)
        self._tensors = tensors
        width = config.num_filters * 2 ** len(config.ratios)
        self.first = self._conv("decoder.layers.0", config.hidden_size, width, config.kernel_size)
        self.lstm = Lstm(tensors.scoped("decoder.layers.1"), width, config.num_lstm_layers).to(device)
        self.upward = self._upward_stack(width)
        self._encoder = self._encoder_stack(width)
        del self._tensors

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Sum the vectors of codes (batch, codebooks, frames) to (batch, hidden, frames)."""
        total = torch.zeros((), device=self.device)
        for book in range(codes.shape[1]):
            total = total + self._books[book][codes[:, book]]
        return total.transpose(1, 2)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the audio of codes (batch, codebooks, frames) as (batch, samples)."""
        return self.raise_rate(self.lstm(self.first(self.embed(codes))))

    def raise_rate(self, states: torch.Tensor) -> torch.Tensor:
        """Turn the LSTM's output (batch, width, frames) into audio (batch, samples)."""
        for layer in self.upward:
            states = layer(states)
        return states[:, 0]

    def encode(self, sound: torch.Tensor) -> torch.Tensor:
        """Return the codes (codebooks, frames) of audio (samples,)."""
        states = sound[None, None].to(self.device)
        for layer in self._encoder:
            states = layer(states)
        rest, codes = states[0].t(), []
        for book in self._books:
            distance = rest.pow(2).sum(1, keepdim=True) - 2 * rest @ book.t() + book.pow(2).sum(1)
            codes.append(distance.argmin(dim=1))
            rest = rest - book[codes[-1]]
        return torch.stack(codes)

    def _upward_stack(self, width: int) -> list[UpsampleConv | ResidualBlock | Conv | Elu]:
        layers: list[UpsampleConv | ResidualBlock | Conv | Elu] = []
        index = 2
        for ratio in self.config.ratios:
            index += 1  # an ELU
            layers += [Elu(), self._upward(f"decoder.layers.{index}", width, ratio)]
            index, width = index + 1, width // 2
            for growth in range(self.config.num_residual_layers):
                layers.append(self._residual(f"decoder.layers.{index}", width, self.config.dilation_growth**growth))
                index += 1
        last = self._conv(f"decoder.layers.{index + 1}", width, 1, self.config.last_kernel_size)
        return [*layers, Elu(), last]

    def _encoder_stack(self, wanted: int) -> list[Lstm | ResidualBlock | Conv | Elu]:
        config, width = self.config, self.config.num_filters
        layers: list[Lstm | ResidualBlock | Conv | Elu] = [self._conv("encoder.layers.0", 1, width, config.kernel_size)]
        index = 1
        for ratio in reversed(config.ratios):
            for growth in range(config.num_residual_layers):
                layers.append(self._residual(f"encoder.layers.{index}", width, config.dilation_growth**growth))
                index += 1
            index += 1  # an ELU
            layers += [Elu(), self._conv(f"encoder.layers.{index}", width, 2 * width, 2 * ratio, stride=ratio)]
            index, width = index + 1, 2 * width
        lstm = Lstm(self._tensors.scoped(f"encoder.layers.{index}"), wanted, config.num_lstm_layers)
        last = self._conv(f"encoder.layers.{index + 2}", width, config.hidden_size, config.last_kernel_size)
        return [*layers, lstm.to(self.device), Elu(), last]

    def _conv(self, name: str, inward: int, outward: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> Conv:
        weight, bias = self._normed(f"{name}.conv", (outward, inward, kernel), outward)
        return Conv(weight, bias, stride, dilation)

    def _upward(self, name: str, width: int, ratio: int) -> UpsampleConv:
        weight, bias = self._normed(f"{name}.conv", (width, width // 2, 2 * ratio), width // 2)
        return UpsampleConv(weight, bias, ratio)

    def _residual(self, name: str, width: int, dilation: int) -> ResidualBlock:
        inner, kernel = width // self.config.compress, self.config.residual_kernel_size
        return ResidualBlock(
            self._conv(f"{name}.block.1", width, inner, kernel, dilation=dilation),
            self._conv(f"{name}.block.3", inner, width, 1),
            self._conv(f"{name}.shortcut", width, width, 1) if self.config.conv_shortcut else None,
        )

    def _normed(self, name: str, shape: tuple[int, int, int], outward: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Fold a weight norm into its weight."""
        direction = self._tensors.pop(f"{name}.weight_v", *shape)
        length = self._tensors.pop(f"{name}.weight_g", shape[0], 1, 1)
        bias = self._tensors.pop(f"{name}.bias", outward)
        weight = direction * (length / torch.norm_except_dim(direction, 2, 0))
        return weight.to(self.device), bias.to(self.device)


class Elu:
    """The activation between the layers."""

    def __call__(self, sound: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return functional.elu(sound)


def _mirror(sound: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """Mirror both ends. Short input gets zeros first, as in the published codec."""
    missing = max(0, max(left, right) - sound.shape[-1] + 1)
    padded = functional.pad(functional.pad(sound, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]
