"""Notes with a position in frames and a gain; each adds its part to a block and predicts its power."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from segue_renderer.sketch.sound import drums, held, struck
from segue_renderer.sketch.sound.levels import POWER_BIN_S
from segue_renderer.sketch.sound.waves import CENT, TWO_PI, VIBRATO_HZ, sine, smooth_step
from segue_renderer.sketch.tables import kits
from segue_renderer.sketch.tables.instruments import VOICES
from segue_renderer.sketch.tables.voices import NUM_SHADES, SHADES, HeldVoice, StruckVoice
from segue_renderer.sketch.tables.vowels import SUNG

if TYPE_CHECKING:
    from segue_audio.arrays import Float64, Stereo
    from segue_renderer.sketch.tables.voices import Voice

SHADE_VELOCITIES: Final = (62, 92)
MAX_HELD_BINS: Final = 300


class SoundingNote(Protocol):
    """A sound with a first frame and an end."""

    @property
    def start(self) -> int:
        """The first frame."""
        ...

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        ...

    def add_to(self, out: Stereo, first: int) -> None:
        """Add the sound to a block that begins at frame `first`."""
        ...

    def predicted_powers(self) -> Float64:
        """Predict the K-weighted power in steps of POWER_BIN_S from the start."""
        ...


def shade_of(velocity: int) -> int:
    """Return the index of the brightness of a velocity."""
    return min(NUM_SHADES - 1, sum(velocity >= limit for limit in SHADE_VELOCITIES))


@dataclass(frozen=True, slots=True)
class Stroke:
    """How one stroke differs from every other of the same note: where it is struck colours its sound."""

    gain: float = 1.0
    """Factor that the gain of the note has already."""
    colour: float = 0.0
    """Share of the sound that comes `delay` frames later: it dulls, or sharpens when it is negative."""
    delay: int = 1
    late: int = 0
    """Frames after the time of the note."""


EVEN: Final = Stroke()


@dataclass(frozen=True, slots=True)
class Glide:
    """How the pitch of a held note comes to rest: vibrato sets in, and a slide arrives."""

    frames: int
    """Time until the vibrato is full."""
    slide_frames: int = 0
    slide_cents: float = 0.0
    """How far below its pitch the note begins."""


@dataclass(frozen=True, slots=True)
class StruckNote:
    """A note of a struck voice: it rings until it is damped."""

    voice: StruckVoice
    pitch: int
    shade: int
    gain: float
    rate: int
    start: int
    held: int
    stroke: Stroke = EVEN

    @property
    def stop(self) -> int:
        """The latest frame at which the note can end; it may fade out earlier."""
        return self.start + min(
            self.held + round(self.voice.damp_s * self.rate), round(self.voice.length_s * self.rate)
        )

    def add_to(self, out: Stereo, first: int) -> None:
        damp = round(self.voice.damp_s * self.rate)
        whole = struck.num_frames(self.voice, self.pitch, self.shade, self.rate)
        length = min(whole, self.held + damp)
        begin, end = max(0, first - self.start), min(length, first + len(out) - self.start)
        if begin >= end:
            return
        sound = struck.samples(self.voice, self.pitch, self.shade, self.rate, end)
        piece = _coloured(sound, begin, end, self.gain, self.stroke)
        if length < whole and end > self.held:
            low = max(begin, self.held)
            piece[low - begin :] *= smooth_step(damp)[::-1][low - self.held : end - self.held, None]
        out[self.start + begin - first : self.start + end - first] += piece

    def predicted_powers(self) -> Float64:
        # Damping adds about a third of its time to the note.
        seconds = (self.held + 0.35 * self.voice.damp_s * self.rate) / self.rate
        bins = max(1, round(seconds / POWER_BIN_S))
        short = min(1.0, seconds / (bins * POWER_BIN_S))
        return _struck_powers(self.voice, self.pitch, self.shade)[:bins] * (self.gain * self.gain * short)


def _coloured(sound: Stereo, begin: int, end: int, gain: float, stroke: Stroke) -> Stereo:
    """Return a part of a sound as one stroke plays it."""
    piece = sound[begin:end] * np.float32(gain * (1.0 - stroke.colour))
    first = max(begin, stroke.delay)
    if stroke.colour and first < end:
        late = sound[first - stroke.delay : end - stroke.delay]
        piece[first - begin :] += late * np.float32(gain * stroke.colour)
    return piece


@lru_cache(maxsize=2048)
def _struck_powers(voice: StruckVoice, pitch: int, shade: int) -> Float64:
    return struck.predicted_power(voice, pitch, shade, 45)


@dataclass(frozen=True, slots=True)
class HeldNote:
    """A note of a held voice: a loop that is faded in and out and opens from dark to bright."""

    voice: HeldVoice
    pitch: int
    shade: int
    gain: float
    rate: int
    start: int
    held: int
    offset: int
    """Position in the loop where the note starts, so that equal notes are not copies."""
    stroke: Stroke = EVEN
    glide: Glide | None = None

    @property
    def stop(self) -> int:
        return self.start + self.held + round(self.voice.release_s * self.rate)

    def add_to(self, out: Stereo, first: int) -> None:
        begin, end = max(0, first - self.start), min(self.stop - self.start, first + len(out) - self.start)
        if begin >= end:
            return
        bright = (SHADES[self.shade] - SHADES[0]) / (1.0 - SHADES[0])
        if bright < 1.0:
            bright = min(1.0, max(0.0, bright - self.stroke.colour))
        piece = self._looped(begin, end, dark=False)
        swell = round(self.voice.swell_s * self.rate)
        if bright < 1.0 or begin < swell:
            piece *= np.float32(bright)
            piece += self._looped(begin, end, dark=True) * np.float32(1.0 - bright)
            if begin < swell:
                # While the note opens, the difference to the dark version fades in.
                stop = min(end, swell) - begin
                dark = self._looped(begin, begin + stop, dark=True)
                piece[:stop] = dark + (piece[:stop] - dark) * smooth_step(swell)[begin : begin + stop, None]
        piece *= np.float32(self.gain)
        attack = min(round(self.voice.attack_s * self.rate), max(1, self.held))
        if begin < attack:
            stop = min(end, attack) - begin
            piece[:stop] *= smooth_step(attack)[begin : begin + stop, None]
        if end > self.held:
            low = max(begin, self.held)
            release = self.stop - self.start - self.held
            piece[low - begin :] *= smooth_step(release)[::-1][low - self.held : end - self.held, None]
        out[self.start + begin - first : self.start + end - first] += piece

    def _looped(self, begin: int, end: int, *, dark: bool) -> Stereo:
        """Return a copy of the loop between two frames of the note, with its glide."""
        if self.glide is None or begin >= self.glide.frames:
            return self._steady(begin, end, dark=dark)
        stop = min(end, self.glide.frames)
        found = self._gliding(begin, stop, self.glide, dark=dark)
        return found if stop == end else np.concatenate((found, self._steady(stop, end, dark=dark)))

    def _gliding(self, begin: int, end: int, glide: Glide, *, dark: bool) -> Stereo:
        """Return the loop without the vibrato that it has, and from below where it slides; both fade out."""
        swing = self.voice.vibrato_cents * CENT * self.rate / (TWO_PI * VIBRATO_HZ)
        slide = 0.5 * glide.slide_cents * CENT * glide.slide_frames
        margin = int(swing + slide) + 2
        ahead = np.zeros(end - begin, dtype=np.float64)
        if swing:
            still = smooth_step(glide.frames)[::-1][begin:end]
            ahead -= sine(end - begin, VIBRATO_HZ, self.rate, first=begin + self.offset) * still * np.float32(swing)
        if slide and begin < glide.slide_frames:
            rest = 1.0 - np.arange(begin, min(end, glide.slide_frames)) / glide.slide_frames
            ahead[: len(rest)] += rest * rest * slide
        source = self._steady(begin - margin, end + margin, dark=dark)
        # The share is that of the shift alone: it must not depend on where the block begins.
        floor = np.floor(ahead)
        share = np.repeat((ahead - floor).astype(np.float32), 2).reshape(-1, 2)
        whole = floor.astype(np.int64) + np.arange(margin, margin + end - begin)
        found = source.take(whole, axis=0)
        step = source.take(whole + 1, axis=0)
        step -= found
        step *= share
        found += step
        return found

    def _steady(self, begin: int, end: int, *, dark: bool) -> Stereo:
        """Return a copy of the loop between two frames of the note."""
        whole = held.loop_frames(self.pitch, self.rate)
        size = held.piece_frames(self.pitch, self.rate)
        found = np.empty((end - begin, 2), dtype=np.float32)
        done = 0
        while done < len(found):
            number, at = divmod((begin + self.offset + done) % whole, size)
            piece = held.piece(self.voice, self.pitch, self.rate, number, dark=dark)[at : at + len(found) - done]
            found[done : done + len(piece)] = piece
            done += len(piece)
        return found

    def predicted_powers(self) -> Float64:
        """Predict the power; a mixture of dark and bright is a little weaker than either."""
        bins = min(MAX_HELD_BINS * 10, max(1, round(100 * self.held / self.rate)))
        curve = _held_powers(self.voice.attack_s, self.voice.release_s, bins)
        return curve * (self.gain * self.gain)


@lru_cache(maxsize=4096)
def _held_powers(attack_s: float, release_s: float, held_centis: int) -> Float64:
    """Return the mean power in each bin of a tone that is faded in and out, from four samples a bin."""
    held_s = held_centis / 100
    num_samples = 4 * max(1, math.ceil((held_s + release_s) / POWER_BIN_S))
    time = (np.arange(num_samples) + 0.5) * (POWER_BIN_S / 4)
    come = np.minimum(1.0, time / min(attack_s, max(0.01, held_s)))
    gone = np.clip((time - held_s) / release_s, 0.0, 1.0)
    shape = come * come * (3.0 - 2.0 * come) * (1.0 - gone * gone * (3.0 - 2.0 * gone))
    power = (shape * shape).reshape(-1, 4)
    found: Float64 = (power[:, 0] + power[:, 1] + power[:, 2] + power[:, 3]) * 0.25
    return found


@dataclass(frozen=True, slots=True)
class DrumHit:
    """A hit of a drum."""

    kit: str
    drum: int
    variant: int
    gain: float
    rate: int
    start: int
    tonic: int
    """The pitch class to which the kit is tuned."""
    stroke: Stroke = EVEN
    ring: float = 1.0
    """Factor of the time that skins and metal ring."""

    @property
    def stop(self) -> int:
        """The latest frame at which the hit can end."""
        return self.start + 5 * self.rate

    def add_to(self, out: Stereo, first: int) -> None:
        sound = drums.hit(self.kit, self.drum, self.variant, self.rate, self.tonic, self.ring)
        begin, end = max(0, first - self.start), min(len(sound), first + len(out) - self.start)
        if begin < end:
            piece = _coloured(sound, begin, end, self.gain, self.stroke)
            out[self.start + begin - first : self.start + end - first] += piece

    def predicted_powers(self) -> Float64:
        """Predict the power; except for cymbals all of it is in the first bin."""
        loud = drums.energy(self.kit, self.drum, self.tonic, self.ring) / POWER_BIN_S * self.gain * self.gain
        return np.array(kits.RINGS.get(self.drum, (1.0,))) * loud


@dataclass(frozen=True, slots=True)
class TransitionSound:
    """A transition between sections, for example a riser."""

    sound: Stereo
    gain: float
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.sound)

    def add_to(self, out: Stereo, first: int) -> None:
        begin, end = max(0, first - self.start), min(len(self.sound), first + len(out) - self.start)
        if begin < end:
            out[self.start + begin - first : self.start + end - first] += self.sound[begin:end] * np.float32(self.gain)

    def predicted_powers(self) -> Float64:
        """Return zero: a transition is too quiet to count."""
        return np.zeros(1)


def sung(
    vowel: str,
    pitch: int,
    velocity: int,
    gain: float,
    rate: int,
    start: int,
    held: int,
    *,
    stroke: Stroke = EVEN,
    glide: Glide | None = None,
) -> SoundingNote:
    """Make a note of the voice that sings words."""
    return _held(SUNG[vowel], pitch, shade_of(velocity), gain, rate, start, held, stroke=stroke, glide=glide)


def pitched(
    name: str,
    pitch: int,
    velocity: int,
    gain: float,
    rate: int,
    start: int,
    held: int,
    *,
    stroke: Stroke = EVEN,
    glide: Glide | None = None,
) -> SoundingNote:
    """Make a note of a voice of the table."""
    return voiced(VOICES[name], pitch, velocity, gain, rate, start, held, stroke=stroke, glide=glide)


def voiced(
    voice: Voice,
    pitch: int,
    velocity: int,
    gain: float,
    rate: int,
    start: int,
    held: int,
    *,
    stroke: Stroke = EVEN,
    glide: Glide | None = None,
) -> SoundingNote:
    """Make a note of a struck or held voice."""
    shade = shade_of(velocity)
    if isinstance(voice, StruckVoice):
        return StruckNote(voice, pitch, shade, gain, rate, start, held, stroke)
    return _held(voice, pitch, shade, gain, rate, start, held, stroke=stroke, glide=glide)


def _held(
    voice: HeldVoice,
    pitch: int,
    shade: int,
    gain: float,
    rate: int,
    start: int,
    held: int,
    *,
    stroke: Stroke,
    glide: Glide | None,
) -> HeldNote:
    offset = (start * 7919 + pitch * 104_729) % (2 * rate)
    return HeldNote(voice, pitch, shade, gain, rate, start, held, offset, stroke, glide)
