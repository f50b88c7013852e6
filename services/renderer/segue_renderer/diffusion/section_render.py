"""One section from request to audio: its window, its latents, and its samples tile by tile. Runs on one thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch

from segue_music.plan import Continuity, Warning  # noqa: A004  the contract's word
from segue_renderer.diffusion.conditions import conditions_of
from segue_renderer.diffusion.families.pipeline import DenoiseTask, finite
from segue_renderer.diffusion.windows import LatentRun, plan_window, tiles
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from segue_renderer.backend import AudioClip, RenderRequest
    from segue_renderer.diffusion.facts import ModelFacts
    from segue_renderer.diffusion.families.pipeline import LatentPipeline
    from segue_renderer.diffusion.windows import LatentTile

NO_GUIDANCE: Final = "guidance is 1, or the audio of another section is given, beside which the model compares nothing"


@dataclass
class WindowRender:
    """The state of a section while it is rendered."""

    request: RenderRequest
    facts: ModelFacts
    usual_steps: int
    warnings: list[Warning] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, rate = self.request.spec, self.facts.grid.sample_rate
        self.conditions = conditions_of(self.request)
        self.window = plan_window(
            self.facts.grid,
            round(spec.frames * rate / spec.sample_rate),
            round(self.request.overlap_frames * rate / spec.sample_rate),
            before=_length(self.request.conditioning),
            after=_length(self.request.following),
        )
        self._latents: torch.Tensor | None = None

    @property
    def steps(self) -> int:
        """The number of denoising steps."""
        asked = self.request.spec.sampling
        return (asked.steps if asked else None) or self.usual_steps

    @property
    def guidance(self) -> float:
        """How much more the prompt counts than no prompt; 1 compares with nothing."""
        asked = self.request.spec.sampling
        if self.facts.is_distilled or asked is None or asked.guidance is None:
            return self.facts.guidance
        return asked.guidance

    @property
    def kind(self) -> tuple[object, ...]:
        """What sections of one batch have in common."""
        return (self.window.latents, self.steps, self.guidance, bool(self.window.kept))

    def task(self, pipeline: LatentPipeline) -> DenoiseTask:
        """Return the work of the model, with the audio around the section as latents."""
        self._note_texts(pipeline)
        self._note_options()
        before, after, guide = self.request.conditioning, self.request.following, self.request.guide
        return DenoiseTask(
            conditions=self.conditions,
            window=self.window,
            seed=self.request.seed,
            steps=self.steps,
            guidance=self.guidance,
            before=self._encoded(pipeline, before, -len(self.window.before) * self.facts.grid.hop, None),
            after=self._encoded(
                pipeline, after, self.window.skipped, self.window.skipped + len(self.window.after) * self.facts.grid.hop
            ),
            timbre=pipeline.timbre(self._channels(guide)) if guide is not None else None,
            mix=self._mix(pipeline),
        )

    def keep(self, latents: torch.Tensor) -> None:
        """Take the latents of the window."""
        self._latents = latents

    def audio(self, pipeline: LatentPipeline) -> Iterator[NDArray[np.float32]]:
        """Yield the samples (frames, channels) of the section and its tail, tile by tile."""
        if self._latents is None:
            raise errors.InternalError("the section has no latents yet")
        finite(self._latents)
        hop, sent = self.facts.grid.hop, 0
        for tile in self._tiles(self.window.own):
            sound = pipeline.decode(self._latents[:, tile.around.first : tile.around.end])
            first = (tile.run.first - tile.around.first) * hop
            room = self.window.samples + self.window.tail - sent
            piece = sound[:, first : first + min(room, len(tile.run) * hop)]
            sent += piece.shape[1]
            yield finite(piece).T.contiguous().numpy()

    def _encoded(
        self, pipeline: LatentPipeline, clip: AudioClip | None, first: int, end: int | None
    ) -> torch.Tensor | None:
        if clip is None or first == end or (end is None and not first):
            return None
        return pipeline.encode(self._channels(clip)[:, first:end])

    def _mix(self, pipeline: LatentPipeline) -> torch.Tensor | None:
        """Return the latents of the mix in all of the window, which is silent after the mix."""
        if self.request.mix is None:
            return None
        hop, sound = self.facts.grid.hop, self._channels(self.request.mix)
        sound = torch.nn.functional.pad(sound, (0, self.window.latents * hop - sound.shape[1]))
        found = []
        for tile in self._tiles(LatentRun(0, self.window.latents)):
            latents = pipeline.encode(sound[:, tile.around.first * hop : tile.around.end * hop])
            first = tile.run.first - tile.around.first
            found.append(latents[:, first : first + len(tile.run)])
        return torch.cat(found, dim=1)

    def _tiles(self, run: LatentRun) -> Iterator[LatentTile]:
        facts = self.facts
        return tiles(run, self.window.latents, size=facts.tile, longest=facts.longest_tile, overlap=facts.reach)

    def _channels(self, clip: AudioClip) -> torch.Tensor:
        """Return audio (channels, samples) with the model's channels."""
        sound = torch.tensor(clip.samples.T, dtype=torch.float32)
        if sound.shape[0] == self.facts.channels:
            return sound
        return sound.mean(dim=0, keepdim=True).expand(self.facts.channels, -1)

    def _note_texts(self, pipeline: LatentPipeline) -> None:
        cuts = pipeline.text_cuts(self.conditions)
        for name in ("prompt", "negative_prompt", "lyrics"):
            if getattr(cuts, name):
                self._warn(f"{name}_truncated", f"{name} is longer than the model reads; its end was not used")

    def _note_options(self) -> None:
        spec = self.request.spec
        is_beside_audio = bool(self.window.kept) and not self.facts.compares_beside_audio
        if spec.negative_prompt and (not self.facts.reads_negative_prompt or is_beside_audio or self.guidance <= 1):
            why = "the model reads none" if not self.facts.reads_negative_prompt else NO_GUIDANCE
            self._warn("negative_prompt_not_used", f"{why}; negative_prompt has no effect")
        asked = spec.sampling.guidance if spec.sampling else None
        if asked is not None and not self.facts.is_distilled and is_beside_audio:
            self._warn("guidance_not_used", f"{NO_GUIDANCE}; sampling.guidance has no effect")
        if spec.loop:
            self._warn("loop_not_used", "the model cannot lead the end of a section into its own start")
        if spec.continuity == Continuity.MOTIF:
            self._warn("motif_not_used", "the model follows no motif; continuity has no effect")
        self._note_audio("conditioning", self.request.conditioning, self.window.before, 0)
        self._note_audio("following", self.request.following, self.window.after, self.window.skipped)

    def _note_audio(self, name: str, clip: AudioClip | None, used: LatentRun, skipped: int) -> None:
        """Name audio beside the section that the window does not hold."""
        if clip is None:
            return
        where = "the earlier section's end" if name == "conditioning" else "the later section's start"
        if not len(used):
            self._warn(f"{name}_too_short", f"{where} is too short, or there is no room for it")
        elif len(used) < (len(clip.samples) - skipped) // self.facts.grid.hop:
            seconds = len(used) / self.facts.grid.rate
            self._warn(f"{name}_cut", f"the model uses {seconds:g} s of {where}")

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning(code, text, self.request.spec.section_id))


def _length(clip: AudioClip | None) -> int:
    return 0 if clip is None else len(clip.samples)


def check_request(request: RenderRequest, facts: ModelFacts) -> None:
    """Refuse requests that the model cannot render, before any work."""
    spec, rate = request.spec, facts.grid.sample_rate
    if spec.frames < 1 or spec.sample_rate < 1:
        raise errors.InvalidField("spec.frames: a section needs at least one frame and a sample rate")
    for name, clip in (
        ("conditioning", request.conditioning), ("following", request.following), ("guide", request.guide)
    ):  # fmt: skip
        if clip is None:
            continue
        if clip.sample_rate != rate:
            raise errors.InvalidAudio(f"{name}: its sample rate is {clip.sample_rate} Hz; resample it to {rate} Hz")
        if clip.samples.shape[1] not in {1, 2}:
            raise errors.InvalidAudio(f"{name}: it has {clip.samples.shape[1]} channels; send 1 or 2")
