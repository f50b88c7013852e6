"""One layer of the mix, the mix itself or a stem: sections one after the other, each under the tails of those before.

Nothing here depends on how the sound is cut: it is emitted in blocks counted from the section's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.resample import StreamResampler
from segue_mixer.mix.fades import DECLICK_S, falling, ringing_out, rising
from segue_mixer.mix.sections import WrongSound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32
    from segue_mixer.mix.sections import Incoming, Section

BLOCK_FRAMES: Final = 4_800
MAX_TAIL_S: Final = 30.0
ENDING_FADE_S: Final = 0.25
"""How long what still rings is faded at the piece's very end."""
ONSET_S: Final = 0.000_5
"""A section that does not go on from another rises this long: too short to soften a drum, long enough for no click."""
GAIN_RAMP_S: Final = 0.05
"""How long the gain moves where sound goes on over a join."""
MISSING_S: Final = 0.002
"""A take may be this much short of its section: a rate that does not divide the timeline leaves the last frame open."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How a section enters: its gain, the gain before it, and how it meets what was there."""

    gain: float
    gain_before: float
    continuous: bool
    crossfade_frames: int
    """0 for a hard join."""
    sample_locked: bool = False
    """Its first beat stands on its first frame: a slow rise would swallow it."""
    shift: int = 0
    """How much later than at its place its sound lies; earlier is negative."""

    @property
    def late(self) -> int:
        """For how many frames only what was before it sounds."""
        return max(0, self.shift)


class LayerMix:
    """`enter`, `push` …, `leave` or `end`, for each section."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._channels = channels
        self.ringing = self._silence()
        """Sound of earlier sections that goes on into this one, already faded."""
        self.beyond = self._silence()
        """What the section before gave beyond its end, not yet faded: the next join's kind decides."""
        self._over = self._silence()
        self._own = self._silence()
        self._to_skip = 0
        self._waiting: list[Float32] = []
        self._num_waiting = 0
        self._resampler = StreamResampler(sample_rate, sample_rate, channels)
        self._limit = 0.0
        self.frames_in = 0
        self.frames_out = 0

    def enter(self, section: Section, incoming: Incoming, entry: Entry) -> None:
        """Begin a section."""
        self._section = section
        self._entry = entry
        self._resampler = StreamResampler(incoming.sample_rate, self._rate, self._channels)
        self._limit = (section.frames / self._rate + MAX_TAIL_S) * incoming.sample_rate
        self.frames_in = 0
        self.frames_out = 0
        self._own = self._silence()
        self._to_skip = max(0, -entry.shift)
        late, beyond = self.beyond[: entry.late], self.beyond[entry.late :]
        if entry.continuous:
            beyond = self._silence()
        elif entry.crossfade_frames:
            beyond = beyond[: entry.crossfade_frames]
            beyond = beyond * falling(len(beyond), entry.crossfade_frames)[:, None]
        self._over = _sum(self.ringing, np.concatenate((late, beyond)))
        self._keep(np.zeros((entry.late, self._channels), np.float32))

    def goes_on(self, frames: int) -> Float32:
        """What sounds of earlier sections in the first frames of this one; mono."""
        sound = np.zeros(frames, np.float32)
        over = self._over[:frames].mean(axis=1, dtype=np.float32)
        sound[: len(over)] = over
        return sound

    def push(self, block: Float32, hold_frames: int) -> Iterator[Float32]:
        """Take sound; give what is ready, the section's last `hold_frames` kept back."""
        section = self._section
        self.frames_in += len(block)
        if self.frames_in > self._limit:
            raise WrongSound(
                f"section {section.section_id}: more than {MAX_TAIL_S:g} s came beyond its {section.frames} frames",
                section_id=section.section_id,
                frame=self.frames_in,
            )
        self._keep(self._unskipped(self._resampler.push(self._to_channels(block))))
        while self._num_waiting >= BLOCK_FRAMES and self.frames_out + BLOCK_FRAMES <= section.frames - hold_frames:
            yield self._emit(self._take(BLOCK_FRAMES))

    def leave(self, keep_frames: int | None) -> Iterator[Float32]:
        """End a section that is not the last; `keep_frames` of its tail are kept, None: all."""
        body, beyond = self._rest()
        for start in range(0, len(body), BLOCK_FRAMES):
            yield self._emit(body[start : start + BLOCK_FRAMES])
        declick = round(DECLICK_S * self._rate)
        self.beyond = np.asarray(beyond[:keep_frames] * np.float32(self._entry.gain), np.float32)
        if len(beyond) < declick:
            so_far = np.concatenate((self._own, self.beyond))
            self.beyond = np.concatenate((self.beyond, ringing_out(so_far, declick - len(beyond))))
        self.ringing = self._over[self._section.frames :].copy()

    def end(self, *, ending: bool) -> tuple[list[Float32], int]:
        """End the piece: its last blocks, exactly to its last frame, and how many frames no sound came for."""
        section = self._section
        body, beyond = self._rest()
        room = section.frames + section.tail_frames - self.frames_out
        given = np.concatenate((body, beyond))
        # What still rings at the last frame would be cut there.
        cut = len(given) > room or len(self._over) > section.frames + section.tail_frames
        sound_end = min(len(given), room)
        whole = np.zeros((room, self._channels), np.float32)
        whole[:sound_end] = given[:room]
        if not ending:
            fade = min(sound_end, section.bar_frames)
        else:
            fade = min(sound_end, round(ENDING_FADE_S * self._rate)) if cut else 0
        shape = np.ones(room, np.float32)
        if fade:
            fall = np.cos((np.arange(fade) + 1) / fade * (np.pi / 2)).astype(np.float32)
            shape[sound_end - fade : sound_end] = fall
            shape[sound_end:] = 0.0
        blocks = []
        for start in range(0, room, BLOCK_FRAMES):
            block = self._emit(whole[start : start + BLOCK_FRAMES])
            blocks.append(block * shape[start : start + BLOCK_FRAMES, None])
        self.ringing = self.beyond = self._silence()
        return blocks, room - sound_end

    def _rest(self) -> tuple[Float32, Float32]:
        """What is still waiting: up to the section's end, and beyond it."""
        section = self._section
        self._keep(self._unskipped(self._resampler.finish()))
        missing = section.frames - self.frames_out - self._num_waiting
        if missing > 0:
            if missing > MISSING_S * self._rate or not self._num_waiting:
                raise WrongSound(
                    f"section {section.section_id}: {missing} frames are missing at its end",
                    section_id=section.section_id,
                    frame=section.frames - missing,
                )
            self._keep(np.repeat(self._waiting[-1][-1:], missing, axis=0))
        rest = self._take(self._num_waiting)
        border = section.frames - self.frames_out
        return rest[:border], rest[border:]

    def _emit(self, block: Float32) -> Float32:
        start = self.frames_out
        sound = np.asarray(block * self._gain(start, len(block)), np.float32)
        self._own = np.concatenate((self._own, sound))[-round(2 * DECLICK_S * self._rate) :]
        over = self._over[start : start + len(sound)]
        if len(over):
            sound[: len(over)] += over
        self.frames_out += len(block)
        return sound

    def _gain(self, start: int, frames: int) -> Float32:
        """The gain of each frame, as a column."""
        entry = self._entry
        start -= entry.late
        if entry.continuous:
            length = round(GAIN_RAMP_S * self._rate)
            if entry.gain == entry.gain_before or start >= length:
                return np.full((1, 1), entry.gain, np.float32)
            place = np.minimum(1.0, (np.arange(start, start + frames) + 0.5) / length)
            ramp = entry.gain_before + (entry.gain - entry.gain_before) * place
            return ramp.astype(np.float32)[:, None]
        rises = entry.crossfade_frames and not entry.sample_locked
        length = entry.crossfade_frames if rises else round(ONSET_S * self._rate)
        if start >= length:
            return np.full((1, 1), entry.gain, np.float32)
        return rising(start, frames, length)[:, None] * np.float32(entry.gain)

    def _to_channels(self, block: Float32) -> Float32:
        if block.shape[1] == self._channels:
            return block
        if block.shape[1] == 1:
            return np.repeat(block, self._channels, axis=1)
        if self._channels == 1:
            return np.asarray(block.mean(axis=1, keepdims=True, dtype=np.float64), np.float32)
        raise WrongSound(
            f"section {self._section.section_id}: {block.shape[1]} channels cannot be brought to {self._channels}",
            section_id=self._section.section_id,
        )

    def _unskipped(self, block: Float32) -> Float32:
        """Without what lies before the section's place."""
        skipped = min(self._to_skip, len(block))
        self._to_skip -= skipped
        return block[skipped:]

    def _keep(self, block: Float32) -> None:
        if len(block):
            self._waiting.append(block)
            self._num_waiting += len(block)

    def _take(self, frames: int) -> Float32:
        joined = np.concatenate(self._waiting) if self._waiting else self._silence()
        self._waiting = [joined[frames:]] if len(joined) > frames else []
        self._num_waiting = len(joined) - min(frames, len(joined))
        return joined[:frames]

    def _silence(self) -> Float32:
        return np.zeros((0, self._channels), np.float32)


def _sum(one: Float32, other: Float32) -> Float32:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
