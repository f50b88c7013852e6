"""Stable Audio 3: text, a negative prompt where the weights need guidance, and audio on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import diffusers
import torch

from segue_renderer.diffusion.families.pipeline import TextCuts, kept_latents, known_latents, noise
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_renderer.diffusion.conditions import TextConditions
    from segue_renderer.diffusion.families.pipeline import DenoiseTask, OnStep

PROMPT_TOKENS: Final = 256
NOISE_OF_STEPS: Final = 0x9E37_79B9
"""Sets the noise between the steps apart from the first noise of the same seed."""


# Its types say less than they seem to.
DF: Any = diffusers


class KnownInpaintPipeline(DF.StableAudio3InpaintPipeline):  # type: ignore[misc]  # the library has no types
    """The library's pipeline over latents that are known already: only the audio around a section is encoded."""

    def _encode_reference_audio(self, audio: Any, device: Any) -> Any:
        return audio.to(device, self.vae.dtype)


class StableAudioAdapter:
    """The pipelines for sections; both have the same networks."""

    def __init__(self, parts: dict[str, Any], device: torch.device) -> None:
        self._device = device
        self._pipe: Any = DF.StableAudio3Pipeline(**parts)
        self._inpaint: Any = KnownInpaintPipeline(**parts)
        for pipe in (self._pipe, self._inpaint):
            pipe.set_progress_bar_config(disable=True)

    @property
    def pipe(self) -> Any:
        """The library's pipeline, to be placed on a device."""
        return self._pipe

    def text_cuts(self, conditions: TextConditions) -> TextCuts:
        """Return which texts do not fit."""
        return TextCuts(
            prompt=self._is_cut(conditions.prompt), negative_prompt=self._is_cut(conditions.negative_prompt)
        )

    def _is_cut(self, text: str) -> bool:
        return len(self._pipe.tokenizer(text).input_ids) > PROMPT_TOKENS

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the latents of audio."""
        vae = self._pipe.vae
        latents: torch.Tensor = vae.encode(samples.unsqueeze(0).to(self._device, vae.dtype)).latents[0]
        return latents

    def timbre(self, samples: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the signature of the pipelines
        """Refuse: the family takes no reference, and its profile says so."""
        raise errors.OptionNotSupported("Stable Audio takes no reference", metadata={"option": "guide_kind"})

    def denoise(self, tasks: Sequence[DenoiseTask], on_step: OnStep) -> list[torch.Tensor]:
        """Return all latents of each window: rows have noise of their own, and prompts are padded behind a mask."""
        vae, first = self._pipe.vae, tasks[0]
        width, seconds = vae.config.latent_dim, vae.downsampling_ratio / vae.config.sampling_rate

        def stepped(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1, first.steps)
            return tensors

        given: dict[str, Any] = {
            "prompt": [task.conditions.prompt for task in tasks],
            # The library rounds up to whole latents.
            "duration": (first.window.latents - 0.5) * seconds,
            "num_inference_steps": first.steps,
            "latents": torch.cat([noise(task, width) for task in tasks]),
            "generator": [torch.Generator().manual_seed(task.seed ^ NOISE_OF_STEPS) for task in tasks],
            "callback_on_step_end": stepped,
            "output_type": "latent",
            "return_dict": False,
        }
        if first.window.kept:
            known = torch.cat([known_latents(task, width) for task in tasks])
            kept = torch.cat([kept_latents(task.window) for task in tasks])
            latents = self._inpaint(audio=known, mask=kept, **given)[0]
        else:
            negative = [task.conditions.negative_prompt for task in tasks]
            latents = self._pipe(guidance_scale=first.guidance, negative_prompt=negative, **given)[0]
        return list(latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return audio; levels above full scale are left to the mixer."""
        vae = self._pipe.vae
        sound: torch.Tensor = vae.decode(latents.unsqueeze(0).to(self._device, vae.dtype)).sample
        return sound[0].to("cpu", torch.float32)

    def release(self) -> None:
        """Move offloaded parts back, after a section."""
        self._pipe.maybe_free_model_hooks()
