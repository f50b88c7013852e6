"""One section from request to audio: its conditions, its windows, and its samples as soon as they are final."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch

from segue_music import theory, timing
from segue_music.plan import Continuity, MotifUse, Warning  # noqa: A004  the contract's word
from segue_renderer.musicgen.code_stream import WindowJob
from segue_renderer.musicgen.conditions import conditions_of
from segue_renderer.musicgen.model import chroma
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder
from segue_renderer.musicgen.policy.delay_pattern import concatenated
from segue_renderer.musicgen.policy.windows import Window, plan_windows
from segue_renderer.musicgen.runner import SamplingParams
from segue_runtime import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segue_renderer.backend import AudioClip, RenderRequest
    from segue_renderer.musicgen.config import MelodyConfig
    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_renderer.musicgen.policy.delay_pattern import Codes

TEXT_TOKENS: Final = 128
SEED_STEP: Final = 0x9E37_79B1


@dataclass(frozen=True)
class WindowLimits:
    """The model's window and stride, in frames."""

    window: int
    stride: int

    @property
    def context(self) -> int:
        """The most earlier audio that fits into a window."""
        return self.window - self.stride


@dataclass
class SectionRender:
    """The state of a section while it is rendered. All methods that use torch run on the engine's thread."""

    model: LoadedModel
    request: RenderRequest
    limits: WindowLimits
    warnings: list[Warning] = field(default_factory=list)
    codes: list[Codes] = field(default_factory=list)
    """All codes so far, beginning with the earlier section's end."""
    context_frames: int = 0
    guide_applied: bool = False
    """Whether any window used the guide, the notes or the motif."""

    def __post_init__(self) -> None:
        rate, spec = self.model.config.codec.sample_rate, self.request.spec
        self.samples = round(spec.frames * rate / spec.sample_rate)
        self.tail_samples = round(self.request.overlap_frames * rate / spec.sample_rate)
        self.frames = math.ceil((self.samples + self.tail_samples) / self.model.config.codec.hop)
        self.windows: list[Window] = []
        self._decoder = StreamDecoder(self.model.codec, self.model.config.decoder.channels)
        self._to_skip = self.sent_samples = self.new_frames = 0

    # before the first window

    def prepare(self) -> None:
        """Encode the earlier section's end and plan the windows."""
        sound = self.request.conditioning
        if sound is not None:
            self._encode(sound)
        self.windows = plan_windows(
            self.frames, self.context_frames, window=self.limits.window, stride=self.limits.stride
        )

    def _encode(self, sound: AudioClip) -> None:
        codec = self.model.config.codec
        frames = min(len(sound.samples) // codec.hop, self.limits.context)
        if not frames:
            self._warn("conditioning_too_short", "the earlier section's end is shorter than one frame of the model")
            return
        if len(sound.samples) // codec.hop > frames:
            self._warn("conditioning_cut", f"the model uses the last {frames / codec.frame_rate:g} s of it")
        # Its last sample is the one before our first, so whole frames are counted from the end.
        end = torch.tensor(sound.samples[-frames * codec.hop :].T)
        channels = self.model.config.decoder.channels
        books = torch.zeros(self.model.config.decoder.num_codebooks, frames, dtype=torch.int64)
        for channel in range(channels):
            books[channel::channels] = self.model.codec.encode(end[channel]).cpu()
        self.codes.append(books.numpy())
        self.context_frames = frames
        self._to_skip = frames * codec.hop
        self._decoder.push(books)  # this audio belongs to the earlier section
        self._to_skip -= max(0, frames - self._decoder.look_ahead) * codec.hop

    # window by window

    def job(self, index: int) -> WindowJob:
        """Return a window as a job for the engine."""
        window = self.windows[index]
        num_codebooks = self.model.config.decoder.num_codebooks
        known = concatenated(self.codes, num_codebooks)
        prompt = known[:, known.shape[1] - window.prompt_frames :]
        melody = self._melody(window)
        spec = self.request.spec
        conditions, cut = conditions_of(self.model, spec.prompt, TEXT_TOKENS, melody, spec.negative_prompt)
        if cut.prompt and index == 0:
            self._warn("prompt_truncated", f"the prompt is longer than {TEXT_TOKENS} tokens; its end was not used")
        if cut.negative and index == 0:
            text = f"negative_prompt is longer than {TEXT_TOKENS} tokens; its end was not used"
            self._warn("negative_prompt_truncated", text)
        return WindowJob(conditions, prompt, window.new_frames, self._sampling(index), self.request.owner)

    def sound(self, codes: Codes) -> NDArray[np.float32]:
        """Add the next codes and return the samples (frames, channels) that are final now."""
        self.codes.append(codes)
        self.new_frames += codes.shape[1]
        sound = self._decoder.push(torch.from_numpy(codes), last=self.new_frames == self.frames)
        skipped = min(self._to_skip, sound.shape[1])
        self._to_skip -= skipped
        room = self.samples + self.tail_samples - self.sent_samples
        piece: NDArray[np.float32] = sound[:, skipped : skipped + room].t().contiguous().numpy()
        self.sent_samples += len(piece)
        return piece

    @property
    def window_frames_used(self) -> int:
        """The model frames of all windows, their prompts included."""
        return sum(window.frames for window in self.windows)

    # parts

    def _sampling(self, index: int) -> SamplingParams:
        given, neutral = self.request.spec.sampling, SamplingParams()
        seed = (self.request.seed + index * SEED_STEP) & 0xFFFF_FFFF
        if given is None:
            return SamplingParams(seed=seed)
        return SamplingParams(
            guidance=neutral.guidance if given.guidance is None else given.guidance,
            temperature=neutral.temperature if given.temperature is None else given.temperature,
            top_k=neutral.top_k if given.top_k is None else given.top_k,
            top_p=neutral.top_p if given.top_p is None else given.top_p,
            seed=seed,
        )

    def _melody(self, window: Window) -> torch.Tensor | None:
        """Return the melody for a window: the guide, the notes, or the plan's motif."""
        melody = self.model.config.melody
        if melody is None:
            return None
        # Times below zero belong to the section before, which has no melody here.
        begin_s = (self.new_frames - window.prompt_frames) / self.model.config.codec.frame_rate
        length_s = window.frames / self.model.config.codec.frame_rate
        if self.request.guide is not None:
            found = self._chroma_of_audio(self.request.guide, begin_s, length_s, melody)
        else:
            notes = self.request.guide_notes
            timed = self._timed([(note.start_tick, note.ticks, note.pitch) for note in notes]) or self._motif()
            found = self._chroma_of_notes(timed, begin_s, length_s, melody)
        self.guide_applied = self.guide_applied or found is not None
        return found

    def _chroma_of_audio(
        self, guide: AudioClip, begin_s: float, length_s: float, melody: MelodyConfig
    ) -> torch.Tensor | None:
        rate = self.model.config.codec.sample_rate
        first, last = round(begin_s * rate), round((begin_s + length_s) * rate)
        part = guide.samples[max(0, first) : last].mean(axis=1)
        if not part.any():
            return None
        rows = chroma.of_sound(torch.from_numpy(part), rate, melody)
        # The first note also fills the time before the guide begins.
        return torch.cat([rows[:1].expand(max(0, -first) // melody.hop, -1), rows])

    def _chroma_of_notes(
        self, notes: list[tuple[float, float, int]], begin_s: float, length_s: float, melody: MelodyConfig
    ) -> torch.Tensor | None:
        sounding = [
            (a - begin_s, b - begin_s, pitch) for a, b, pitch in notes if a < begin_s + length_s and b > begin_s
        ]
        if not sounding:
            return None
        return chroma.of_notes(sounding, length_s, melody.hop / self.model.config.codec.sample_rate, melody)

    def _motif(self) -> list[tuple[float, float, int]]:
        spec = self.request.spec
        if spec.continuity not in {Continuity.UNSPECIFIED, Continuity.MOTIF} or spec.motif_use == MotifUse.UNSPECIFIED:
            return []
        key = spec.key
        if spec.motif is None or key is None or not spec.motif.ticks:
            return []
        length_s = self.frames / self.model.config.codec.frame_rate
        once = [
            (note.start_tick, note.ticks, theory.degree_pitch(key, note.degree, alteration=note.alteration))
            for note in spec.motif.notes
        ]
        repeats = 1 + int(length_s / max(0.1, self._timed([(0, spec.motif.ticks, 0)])[0][1]))
        return self._timed(
            [(start + turn * spec.motif.ticks, ticks, pitch) for turn in range(repeats) for start, ticks, pitch in once]
        )

    def _timed(self, notes: list[tuple[int, int, int]]) -> list[tuple[float, float, int]]:
        tempo = timing.tempo_map(self.request.spec)
        return [(tempo.seconds(start), tempo.seconds(start + ticks), pitch) for start, ticks, pitch in notes]

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning(code, text, self.request.spec.section_id))


def check_request(request: RenderRequest, model: LoadedModel) -> None:
    """Refuse requests that the model cannot render, before any work."""
    spec, codec = request.spec, model.config.codec
    violations = []
    if spec.frames < 1 or spec.sample_rate < 1:
        violations.append(errors.FieldViolation("spec.frames", "a section needs at least one frame and a sample rate"))
    if (
        model.config.melody is not None
        and (request.guide_notes or spec.motif)
        and not (spec.metre and spec.tempo_points)
    ):
        violations.append(errors.FieldViolation("spec.tempo_points", "notes need metre and tempo"))
    if violations:
        raise errors.InvalidField(
            "; ".join(f"{each.field}: {each.description}" for each in violations), violations=violations
        )
    for name, sound, channels in (
        ("conditioning", request.conditioning, {model.config.decoder.channels}),
        ("guide", request.guide, {1, 2}),
    ):
        if sound is None:
            continue
        if sound.sample_rate != codec.sample_rate:
            raise errors.InvalidAudio(
                f"{name}: its sample rate is {sound.sample_rate} Hz; resample it to {codec.sample_rate} Hz"
            )
        if sound.samples.shape[1] not in channels:
            raise errors.InvalidAudio(
                f"{name}: it has {sound.samples.shape[1]} channels; the model has {min(channels)}"
            )
