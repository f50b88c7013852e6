"""The compute device, its precision, and the number of slots that its memory holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from segue_renderer.musicgen.model.caches import bytes_per_slot
from segue_renderer.musicgen.model.linear import PRECISIONS, dtype_of
from segue_renderer.torch_device import find_device, memory
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_renderer.musicgen.config import DecoderConfig

MOST_SLOTS: Final = {"cpu": 8, "mps": 8, "cuda": 64}


@dataclass(frozen=True)
class ComputeDevice:
    """A device with a precision."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of hidden states."""
        return dtype_of(self.precision)

    @property
    def cache_dtype(self) -> torch.dtype:
        """The type of the codes' keys and values: bf16 with int8 weights, where fp32 would exceed the weights."""
        return torch.bfloat16 if self.precision == "int8" else self.dtype


def choose(device: str, precision: str, cuda_graphs: str = "auto") -> ComputeDevice:
    """Return the device that the settings name. DeviceRequired names an alternative when the device is missing."""
    if precision not in {"auto", *PRECISIONS}:
        raise errors.InvalidField(
            f"renderer.musicgen.precision: {precision!r} is not one of auto, {', '.join(PRECISIONS)}"
        )
    chosen = find_device(device, "renderer.musicgen.device")
    if cuda_graphs == "on" and chosen.type != "cuda":
        raise errors.DeviceRequired(
            f"renderer.musicgen.cuda_graphs: on needs a CUDA device, not {chosen}; use auto or off"
        )
    if precision == "auto":
        precision = "fp32" if chosen.type != "cuda" else "bf16"
    if precision == "int8" and chosen.type != "cpu":
        raise errors.DeviceRequired("renderer.musicgen.precision: int8 is for the CPU; use bf16 or fp16 on this device")
    if precision == "fp16" and chosen.type == "cpu":
        raise errors.DeviceRequired("renderer.musicgen.precision: fp16 is for GPUs; use bf16 or int8 on the CPU")
    return ComputeDevice(chosen, precision)


def num_slots(
    wanted: int,
    config: DecoderConfig,
    place: ComputeDevice,
    *,
    positions: int,
    text_positions: int,
    percent: int,
    left_bytes: int | None = None,
) -> int:
    """Return the number of slots: the wanted number, or as many as this share of the free memory and `left_bytes` hold.

    The rest of the free memory is for prefill, codec and captured steps, and for other processes.
    """
    each = bytes_per_slot(config, positions, text_positions, place.cache_dtype, place.dtype)
    _, free = memory(place.device)
    fitting = free * percent // 100 // each if free else 1
    if left_bytes is not None:
        if left_bytes < each:
            raise errors.OutOfMemory(
                f"renderer.memory_bytes leaves {left_bytes / 2**20:.0f} MiB beside the weights; one slot needs "
                f"{each / 2**20:.0f} MiB"
            )
        fitting = min(max(1, fitting), left_bytes // each)
    if wanted > max(1, fitting):
        raise errors.OutOfMemory(
            f"renderer.musicgen.slots: {wanted} slots of {each / 2**20:.0f} MiB do not fit; {max(1, fitting)} would"
        )
    return wanted or max(1, min(fitting, MOST_SLOTS[place.device.type]))
