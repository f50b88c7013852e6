"""ACE-Step 1.5: text, lyrics, tempo, key and metre; audio on both sides; a reference for the sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import diffusers
import torch

from segue_music.plan import LayerTask
from segue_renderer.diffusion.facts import ACE_STEP_LONGEST_S
from segue_renderer.diffusion.families.pipeline import TextCuts, kept_latents, known_latents, noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_renderer.diffusion.conditions import TextConditions
    from segue_renderer.diffusion.families.pipeline import DenoiseTask, OnStep

PROMPT_TOKENS: Final = 256
LYRICS_TOKENS: Final = 2048
INSTRUMENTAL: Final = "[Instrumental]"
"""The lyrics of music without a voice, as the model was trained."""
ANY_LANGUAGE: Final = "unknown"
TASK_TYPES: Final = {LayerTask.ADD: "lego", LayerTask.EXTRACT: "extract"}
REFERENCE_PARTS: Final = 3
REFERENCE_PART_S: Final = 10.0


# Its types say less than they seem to.
DF: Any = diffusers


class KnownAceStepPipeline(DF.AceStepPipeline):  # type: ignore[misc]  # the library has no types
    """The library's pipeline over latents that are known already.

    The original encodes audio with a random part of its own, which no seed repeats, and counts latents in seconds,
    which rounds some lengths up.
    """

    task: DenoiseTask

    def prepare_src_latents(self, device: Any, dtype: Any, **given: Any) -> Any:
        """Return the latents around the section, or the model's silence."""
        if given.get("src_audio") is not None:
            return given["src_audio"].to(device, dtype), self.task.window.latents
        return DF.AceStepPipeline.prepare_src_latents(self, device, dtype, latent_length=self.task.window.latents)

    def prepare_reference_audio_latents(self, reference_audio: Any, batch_size: int, device: Any, dtype: Any) -> Any:
        """Return the latents of the reference."""
        return reference_audio.to(device, dtype), torch.arange(batch_size, device=device, dtype=torch.long)

    def texts(self, conditions: TextConditions) -> tuple[str, str]:
        """Return the prompt and the lyrics as the text encoder reads them."""
        texts: tuple[str, str] = self._format_prompt(
            instruction=self._get_task_instruction(**task_of(conditions)),
            prompt=conditions.prompt,
            lyrics=lyrics_of(conditions),
            vocal_language=language_of(conditions),
            audio_duration=ACE_STEP_LONGEST_S,
            bpm=_tempo_of(conditions),
            keyscale=conditions.key,
            timesignature=conditions.metre,
        )
        return texts

    def _build_chunk_mask(self, *_: Any, device: Any, dtype: Any, acoustic_dim: int, **__: Any) -> Any:
        mask = (1.0 - kept_latents(self.task.window)).transpose(1, 2).expand(1, -1, acoustic_dim)
        return mask.to(device, dtype)


class AceStepAdapter:
    """The pipeline for sections."""

    def __init__(self, parts: dict[str, Any], device: torch.device) -> None:
        self._pipe: Any = KnownAceStepPipeline(**parts)
        self._device = device
        self._pipe.set_progress_bar_config(disable=True)

    @property
    def pipe(self) -> Any:
        """The library's pipeline, to be placed on a device."""
        return self._pipe

    def text_cuts(self, conditions: TextConditions) -> TextCuts:
        """Return which texts do not fit."""
        prompt, lyrics = self._pipe.texts(conditions)
        return TextCuts(
            prompt=len(self._pipe.tokenizer(prompt).input_ids) > PROMPT_TOKENS,
            lyrics=len(self._pipe.tokenizer(lyrics).input_ids) > LYRICS_TOKENS,
        )

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the most likely latents of audio."""
        vae = self._pipe.vae
        sound = samples.unsqueeze(0).to(self._device, vae.dtype)
        latents: torch.Tensor = vae.encode(sound).latent_dist.mode()[0]
        return latents

    def timbre(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the latents of a reference: three parts from its start, its middle and its end."""
        part: int = round(REFERENCE_PART_S * self._pipe.sample_rate)
        hop = round(self._pipe.sample_rate / self._pipe.latents_per_second)
        part -= part % hop
        repeated = samples.repeat(1, math.ceil(REFERENCE_PARTS * part / samples.shape[1]))
        last = repeated.shape[1] - part
        starts = (0, min(last, repeated.shape[1] // REFERENCE_PARTS), last)
        return self.encode(torch.cat([repeated[:, first : first + part] for first in starts], dim=1))

    def denoise(self, tasks: Sequence[DenoiseTask], on_step: OnStep) -> list[torch.Tensor]:
        """Return all latents of one window: in a batch, the attention would read the padding of shorter prompts."""
        (task,) = tasks
        pipe, conditions = self._pipe, task.conditions
        pipe.task = task
        width = pipe.transformer.config.audio_acoustic_hidden_dim
        given: dict[str, Any] = {}
        if task.mix is not None:
            given = {"src_audio": task.mix.T.unsqueeze(0), **task_of(conditions)}
        elif task.window.kept:
            given = {"src_audio": known_latents(task, width).transpose(1, 2), "task_type": "repaint"}
        if task.timbre is not None:
            given["reference_audio"] = task.timbre.T.unsqueeze(0)

        def stepped(_pipe: Any, step: int, _time: Any, _tensors: Any) -> dict[str, Any]:
            on_step(step + 1, task.steps)
            return {}

        latents = pipe(
            prompt=conditions.prompt,
            lyrics=lyrics_of(conditions),
            vocal_language=language_of(conditions),
            audio_duration=task.window.latents / pipe.latents_per_second,
            bpm=_tempo_of(conditions),
            keyscale=conditions.key,
            timesignature=conditions.metre,
            num_inference_steps=task.steps,
            guidance_scale=task.guidance,
            latents=noise(task, width).transpose(1, 2),
            max_text_length=PROMPT_TOKENS,
            max_lyric_length=LYRICS_TOKENS,
            callback_on_step_end=stepped,
            output_type="latent",
            return_dict=False,
            **given,
        )[0]
        return [latents[0].T]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return audio as loud as the model made it: the library's own decoding makes every piece equally loud."""
        vae = self._pipe.vae
        sound: torch.Tensor = vae.decode(latents.unsqueeze(0).to(self._device, vae.dtype)).sample
        return sound[0].to("cpu", torch.float32)

    def release(self) -> None:
        """Move offloaded parts back, after a section."""
        self._pipe.maybe_free_model_hooks()


def task_of(conditions: TextConditions) -> dict[str, str]:
    """Return the library's name of a task about one layer, and the layer; nothing without a task."""
    if not conditions.task:
        return {}
    return {"task_type": TASK_TYPES[conditions.task], "track_name": conditions.track}


def lyrics_of(conditions: TextConditions) -> str:
    """Return the lyrics, or the word for music without a voice."""
    return conditions.lyrics.text if conditions.lyrics else INSTRUMENTAL


def language_of(conditions: TextConditions) -> str:
    """Return the language of the lyrics, or the word for one that is not known."""
    return (conditions.lyrics.language if conditions.lyrics else "") or ANY_LANGUAGE


def _tempo_of(conditions: TextConditions) -> int | None:
    return None if conditions.quarters_per_minute is None else round(conditions.quarters_per_minute)
