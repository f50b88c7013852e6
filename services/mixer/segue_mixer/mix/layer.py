"""One layer of the draft, the mix or a stem: sections in sequence, each under the tails of the earlier ones.

The output does not depend on how the input is cut: blocks are counted from the section's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.pcm import mono_mean
from segue_audio.resample import StreamResampler
from segue_mixer.audio_check import WrongAudio
from segue_mixer.mix.fades import DECLICK_S, fade_in, fade_out, ring_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32
    from segue_mixer.mix.sections import MixSection, SectionInput

BLOCK_FRAMES: Final = 4_800
MAX_TAIL_S: Final = 30.0
ENDING_FADE_S: Final = 0.25
"""Length of the fade over tails that still ring at the end of the piece."""
ONSET_S: Final = 0.000_5
"""Rise at the start of a section that continues no other: it is short enough for a drum, and prevents a click."""
GAIN_RAMP_S: Final = 0.05
"""Length of a change of gain where the audio continues over a join."""
MISSING_S: Final = 0.002
"""A take may be this much too short: a rate that does not divide the timeline's leaves the last frame open."""


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """How a section begins: its gain, the gain before it, its shift, and its join with the earlier audio."""

    gain: float
    gain_before: float
    continuous: bool
    crossfade_frames: int
    """0 for a hard join."""
    sample_locked: bool = False
    """Its first beat is its first frame: a slow rise would soften it."""
    shift: int = 0
    """How many frames later than planned its audio lies; negative means earlier."""

    @property
    def delay_frames(self) -> int:
        """Frames at its start in which only earlier sections sound."""
        return max(0, self.shift)


class LayerMixer:
    """Mixes one layer: `begin_section`, `push` …, then `end_section` or `end_piece`."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._channels = channels
        self.ringing = self._silence()
        """Tails of earlier sections that reach into this one, already faded."""
        self.beyond = self._silence()
        """Audio of the last section beyond its end, not yet faded: the kind of the next join decides."""
        self._overlay = self._silence()
        self._own = self._silence()
        self._to_skip = 0
        self._waiting: list[Float32] = []
        self._num_waiting = 0
        self._resampler = StreamResampler(sample_rate, sample_rate, channels)
        self._limit = 0.0
        self.frames_in = 0
        self.frames_out = 0

    def begin_section(self, section: MixSection, source: SectionInput, entry: SectionEntry) -> None:
        """Begin a section."""
        self._section = section
        self._entry = entry
        self._resampler = StreamResampler(source.sample_rate, self._rate, self._channels)
        self._limit = (section.frames / self._rate + MAX_TAIL_S) * source.sample_rate
        self.frames_in = 0
        self.frames_out = 0
        self._own = self._silence()
        self._to_skip = max(0, -entry.shift)
        full, beyond = self.beyond[: entry.delay_frames], self.beyond[entry.delay_frames :]
        if entry.continuous:
            beyond = self._silence()
        elif entry.crossfade_frames:
            beyond = beyond[: entry.crossfade_frames]
            beyond = beyond * fade_out(len(beyond), entry.crossfade_frames)[:, None]
        self._overlay = _sum(self.ringing, np.concatenate((full, beyond)))
        self._keep(np.zeros((entry.delay_frames, self._channels), np.float32))

    def overlay_mono(self, frames: int) -> Float32:
        """Return the earlier sections' audio in the first frames of this one, as mono."""
        mono = np.zeros(frames, np.float32)
        overlay = mono_mean(self._overlay[:frames])
        mono[: len(overlay)] = overlay
        return mono

    def push(self, block: Float32, hold_frames: int) -> Iterator[Float32]:
        """Add audio and yield finished blocks; the section's last `hold_frames` stay back."""
        section = self._section
        self.frames_in += len(block)
        if self.frames_in > self._limit:
            raise WrongAudio(
                f"section {section.section_id}: more than {MAX_TAIL_S:g} s of audio beyond its {section.frames} frames",
                section_id=section.section_id,
                frame=self.frames_in,
            )
        self._keep(self._without_skipped(self._resampler.push(self._to_channels(block))))
        while self._num_waiting >= BLOCK_FRAMES and self.frames_out + BLOCK_FRAMES <= section.frames - hold_frames:
            yield self._emit(self._pop(BLOCK_FRAMES))

    def end_section(self, keep_frames: int | None) -> Iterator[Float32]:
        """End a section that is not the last; keeps `keep_frames` of its tail, None: all of it."""
        body, beyond = self._rest()
        for start in range(0, len(body), BLOCK_FRAMES):
            yield self._emit(body[start : start + BLOCK_FRAMES])
        declick = round(DECLICK_S * self._rate)
        self.beyond = np.asarray(beyond[:keep_frames] * np.float32(self._entry.gain), np.float32)
        if len(beyond) < declick:
            so_far = np.concatenate((self._own, self.beyond))
            self.beyond = np.concatenate((self.beyond, ring_out(so_far, declick - len(beyond))))
        self.ringing = self._overlay[self._section.frames :].copy()

    def end_piece(self, *, ending: bool) -> tuple[list[Float32], int]:
        """End the piece on its exact last frame; returns the last blocks and the number of frames without audio."""
        section = self._section
        body, beyond = self._rest()
        space = section.frames + section.tail_frames - self.frames_out
        available = np.concatenate((body, beyond))
        cut = len(available) > space or len(self._overlay) > section.frames + section.tail_frames
        audio_end = min(len(available), space)
        whole = np.zeros((space, self._channels), np.float32)
        whole[:audio_end] = available[:space]
        if not ending:
            fade = min(audio_end, section.bar_frames)
        else:
            # A tail that is cut at the last frame would click.
            fade = min(audio_end, round(ENDING_FADE_S * self._rate)) if cut else 0
        gain = np.ones(space, np.float32)
        if fade:
            gain[audio_end - fade : audio_end] = np.cos((np.arange(fade) + 1) / fade * (np.pi / 2)).astype(np.float32)
            gain[audio_end:] = 0.0
        blocks = []
        for start in range(0, space, BLOCK_FRAMES):
            block = self._emit(whole[start : start + BLOCK_FRAMES])
            blocks.append(block * gain[start : start + BLOCK_FRAMES, None])
        self.ringing = self.beyond = self._silence()
        return blocks, space - audio_end

    def _rest(self) -> tuple[Float32, Float32]:
        """Return the waiting audio: up to the section's end, and beyond it."""
        section = self._section
        self._keep(self._without_skipped(self._resampler.finish()))
        missing = section.frames - self.frames_out - self._num_waiting
        if missing > 0:
            if missing > MISSING_S * self._rate or not self._num_waiting:
                raise WrongAudio(
                    f"section {section.section_id}: {missing} frames are missing at its end",
                    section_id=section.section_id,
                    frame=section.frames - missing,
                )
            self._keep(np.repeat(self._waiting[-1][-1:], missing, axis=0))
        rest = self._pop(self._num_waiting)
        border = section.frames - self.frames_out
        return rest[:border], rest[border:]

    def _emit(self, block: Float32) -> Float32:
        """Apply the gain and add the earlier sections' audio."""
        start = self.frames_out
        mixed = np.asarray(block * self._gain(start, len(block)), np.float32)
        self._own = np.concatenate((self._own, mixed))[-round(2 * DECLICK_S * self._rate) :]
        overlay = self._overlay[start : start + len(mixed)]
        if len(overlay):
            mixed[: len(overlay)] += overlay
        self.frames_out += len(block)
        return mixed

    def _gain(self, start: int, frames: int) -> Float32:
        """Return the gain of each frame, as a column."""
        entry = self._entry
        start -= entry.delay_frames
        if entry.continuous:
            length = round(GAIN_RAMP_S * self._rate)
            if entry.gain == entry.gain_before or start >= length:
                return np.full((1, 1), entry.gain, np.float32)
            position = np.minimum(1.0, (np.arange(start, start + frames) + 0.5) / length)
            ramp = entry.gain_before + (entry.gain - entry.gain_before) * position
            return ramp.astype(np.float32)[:, None]
        rises = entry.crossfade_frames and not entry.sample_locked
        length = entry.crossfade_frames if rises else round(ONSET_S * self._rate)
        if start >= length:
            return np.full((1, 1), entry.gain, np.float32)
        return fade_in(start, frames, length)[:, None] * np.float32(entry.gain)

    def _to_channels(self, block: Float32) -> Float32:
        if block.shape[1] == self._channels:
            return block
        if block.shape[1] == 1:
            return np.repeat(block, self._channels, axis=1)
        if self._channels == 1:
            return np.asarray(block.mean(axis=1, keepdims=True, dtype=np.float64), np.float32)
        raise WrongAudio(
            f"section {self._section.section_id}: {block.shape[1]} channels cannot be mixed to {self._channels}",
            section_id=self._section.section_id,
        )

    def _without_skipped(self, block: Float32) -> Float32:
        """Drop the audio before the start of a section that moves earlier."""
        skipped = min(self._to_skip, len(block))
        self._to_skip -= skipped
        return block[skipped:]

    def _keep(self, block: Float32) -> None:
        if len(block):
            self._waiting.append(block)
            self._num_waiting += len(block)

    def _pop(self, frames: int) -> Float32:
        # One block is not copied: a long block is popped in many pieces.
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate((self._silence(), *self._waiting))
        self._waiting = [joined[frames:]] if len(joined) > frames else []
        self._num_waiting = len(joined) - min(frames, len(joined))
        return joined[:frames]

    def _silence(self) -> Float32:
        return np.zeros((0, self._channels), np.float32)


def _sum(first: Float32, second: Float32) -> Float32:
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
