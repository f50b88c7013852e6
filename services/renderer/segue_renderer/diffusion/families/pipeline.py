"""The interface of a family's pipeline: latents in, latents out. One call at a time, on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segue_renderer.diffusion.conditions import TextConditions
    from segue_renderer.diffusion.windows import DiffusionWindow

    OnStep = Callable[[int, int], None]
    """Called after each step with the number of steps done and of all steps; it may raise RenderStopped."""


class RenderStopped(Exception):  # noqa: N818 - it is no error: the caller is gone
    """Ends a render between two steps."""


@dataclass(frozen=True)
class TextCuts:
    """Which texts are longer than the model reads."""

    prompt: bool = False
    negative_prompt: bool = False
    lyrics: bool = False


@dataclass(frozen=True)
class DenoiseTask:
    """One window to fill. Latents are (width, latents)."""

    conditions: TextConditions
    window: DiffusionWindow
    seed: int
    steps: int
    guidance: float
    before: torch.Tensor | None = None
    after: torch.Tensor | None = None
    timbre: torch.Tensor | None = None
    mix: torch.Tensor | None = None
    """All of the window, for a task about one layer."""


class LatentPipeline(Protocol):
    """A family's pipeline around its networks."""

    @property
    def pipe(self) -> Any:
        """The library's pipeline, to be placed on a device."""
        ...

    def text_cuts(self, conditions: TextConditions) -> TextCuts:
        """Return which texts do not fit."""
        ...

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the latents (width, latents) of audio (channels, samples), whole latents of it."""
        ...

    def timbre(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the latents of a reference for the sound, of audio (channels, samples)."""
        ...

    def denoise(self, tasks: Sequence[DenoiseTask], on_step: OnStep) -> list[torch.Tensor]:
        """Return all latents of each window. Several tasks are of one kind, and the family makes batches."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return audio (channels, samples) in fp32 on the CPU."""
        ...

    def release(self) -> None:
        """Move offloaded parts back, after a section."""
        ...


def noise(task: DenoiseTask, width: int) -> torch.Tensor:
    """Return the first latents (1, width, latents) of a seed: the same on every device, for every precision."""
    return torch.randn((1, width, task.window.latents), generator=torch.Generator().manual_seed(task.seed))


def known_latents(task: DenoiseTask, width: int) -> torch.Tensor:
    """Return the latents (1, width, latents) around the section; zero elsewhere."""
    known = torch.zeros(1, width, task.window.latents)
    for run, latents in ((task.window.before, task.before), (task.window.after, task.after)):
        if latents is not None:
            known[0, :, run.first : run.end] = latents.to("cpu", torch.float32)
    return known


def kept_latents(window: DiffusionWindow) -> torch.Tensor:
    """Return 1 (1, 1, latents) where latents are known, 0 where they are made."""
    kept = torch.zeros(1, 1, window.latents)
    for run in window.kept:
        kept[..., run.first : run.end] = 1.0
    return kept


def finite(latents: torch.Tensor) -> torch.Tensor:
    """Return latents; RenderInvalid if some are not numbers."""
    if not bool(torch.isfinite(latents).all()):
        raise errors.RenderInvalid("the model computed values that are not numbers")
    return latents
