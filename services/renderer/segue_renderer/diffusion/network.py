"""The loaded model on its device: placement, precision, offload, and the adapter of its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from segue_renderer.diffusion.families.ace_step import AceStepAdapter
from segue_renderer.diffusion.families.stable_audio import StableAudioAdapter
from segue_renderer.diffusion.folder import ACE_STEP
from segue_renderer.diffusion.parts import load_parts
from segue_renderer.torch_device import find_device
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_renderer.diffusion.families.pipeline import LatentPipeline
    from segue_renderer.diffusion.folder import DiffusersFolder

PRECISIONS: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ModelPlacement:
    """Where and how a model runs."""

    device: torch.device
    precision: str
    offload: str

    @classmethod
    def of(cls, device: str, precision: str, offload: str) -> ModelPlacement:
        """Return what the settings ask for; DeviceRequired names an alternative where it cannot be had."""
        found = find_device(device, "renderer.diffusion.device")
        if precision == "auto":
            precision = "fp32" if found.type == "cpu" else "bf16"
        if precision == "fp16" and found.type == "cpu":
            raise errors.DeviceRequired("renderer.diffusion.precision: fp16 is for GPUs; use bf16 or fp32 on the CPU")
        if offload != "none" and found.type == "cpu":
            raise errors.DeviceRequired(
                f"renderer.diffusion.offload: {offload} moves parts between a GPU and the CPU; use none on the CPU"
            )
        return cls(found, precision, offload)

    def load(self, folder: DiffusersFolder) -> LatentPipeline:
        """Load a model and place it."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        parts = load_parts(folder, PRECISIONS[self.precision])
        make = AceStepAdapter if folder.family is ACE_STEP else StableAudioAdapter
        adapter: LatentPipeline = make(parts, self.device)
        if self.offload == "parts":
            adapter.pipe.enable_model_cpu_offload(device=self.device)
        else:
            adapter.pipe.to(self.device)
        return adapter

    def peak_bytes(self) -> int:
        """Return the most memory that was used on a GPU; 0 elsewhere."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0


def weight_bytes(pipe: Any) -> int:
    """Return the size of a pipeline's weights."""
    networks = [each for each in pipe.components.values() if isinstance(each, torch.nn.Module)]
    return sum(tensor.numel() * tensor.element_size() for network in networks for tensor in network.parameters())
