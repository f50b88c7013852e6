"""Plays the zones of a voice pack: resampling, loops, low pass and envelopes, in pieces of a quarter of a second.

A piece depends on its number and not on the blocks that are asked for, and every value is made by integer phases,
products and sums: equal notes have equal bits, whatever the length of the blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from segue_renderer.sketch.sampled.pack import BEFORE
from segue_renderer.sketch.sound.sample_cache import SampleCache
from segue_renderer.sketch.sound.waves import SINE, SINE_BITS, frame_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Float64, Mono, Stereo
    from segue_renderer.sketch.sampled.pack import VoicePack, Zone

PLAYER_VERSION: Final = "voices-1"
"""Part of the engine version of sampled voices: raise it when the bytes of a note change."""
PIECES_PER_SECOND: Final = 4
SILENT_DB: Final = 70.0
"""A sound ends when its envelope has fallen so far."""
MAX_RATIO: Final = 16.0
FULL_SCALE: Final = 1.0 / 32_768.0
MAX_TAPS: Final = 384
STEP_BITS: Final = 10
LONGEST_FALL: Final = 1 << 24
FALL_BITS: Final = -16.609640474436812
"""100 dB as a power of two of the amplitude."""
PIECES: Final = SampleCache()
"""Pieces of sampled notes, beside those of the synthesised ones."""


def power_of_two(x: float) -> float:
    """Return 2 ** x by products and a series, which gives the same bits on every machine."""
    whole = int(x // 1)
    y = (x - whole) * 0.6931471805599453
    found = term = 1.0
    for number in range(1, 16):
        term *= y / number
        found += term
    step = 2.0 if whole > 0 else 0.5
    for _ in range(abs(whole)):
        found *= step
    return found


@lru_cache(maxsize=4096)
def speed_of(root: float, scale: float, key: int, tune: float) -> float:
    """Return how much faster than recorded a sample sounds at a key; `tune` is in semitones."""
    return min(MAX_RATIO, power_of_two(((key - root) * scale + tune) / 12.0))


class Fall:
    """A level that falls by 100 dB in a number of frames: the product of a coarse and a fine table."""

    def __init__(self, frames: int) -> None:
        ratio = power_of_two(FALL_BITS / frames)
        fine = np.full(1 << STEP_BITS, ratio)
        fine[0] = 1.0
        self._fine = np.multiply.accumulate(fine)
        long = float(self._fine[-1]) * ratio
        coarse = np.full(min(LONGEST_FALL, frames + frames // 4) // (1 << STEP_BITS) + 2, long)
        coarse[0], coarse[-1] = 1.0, 0.0
        self._coarse = np.multiply.accumulate(coarse)

    def at(self, first: int, frames: int) -> Float64:
        """Return the level from a frame on; it is zero when it has fallen far enough."""
        number = frame_numbers(frames) + first
        return self._fine.take(number & ((1 << STEP_BITS) - 1)) * self._coarse.take(number >> STEP_BITS, mode="clip")


@lru_cache(maxsize=256)
def fall_of(frames: int) -> Fall:
    """Return the tables of a fall."""
    return Fall(max(1, frames))


@lru_cache(maxsize=64)
def _release_of(frames: int, size: int) -> Stereo:
    """Return the start of a fall, on both sides and as long as a piece."""
    return np.repeat(fall_of(frames).at(0, size).astype(np.float32)[:, None], 2, axis=1)


def released(sound: Stereo, low: int, held: int, release: int, rate: int, gain: float) -> Stereo:
    """Return a part of a piece with a gain, falling from frame `held` of the piece on, which may lie before it.

    The part begins at frame `low`. The level depends on the frame, not on where the part begins or ends.
    """
    if held >= low + len(sound):
        return sound * np.float32(gain)
    fall = _release_of(release, piece_frames(rate))
    if held <= 0:
        # What has fallen before this piece, and what falls within it.
        return sound * fall[low : low + len(sound)] * np.float32(gain * power_of_two(FALL_BITS * -held / release))
    found = sound * np.float32(gain)
    begin = max(low, held)
    found[begin - low :] *= fall[begin - held : low + len(sound) - held]
    return found


class Times(NamedTuple):
    """The envelope of a zone at a key, in frames."""

    delay: int
    attack: int
    hold: int
    decay: int
    """Frames for 100 dB."""
    release: int
    sustain_db: float

    @property
    def decay_start(self) -> int:
        """The frame at which the level begins to fall."""
        return self.delay + self.attack + self.hold

    def fallen_db(self, frame: int) -> float:
        """Return how far the level of a held note has fallen."""
        return min(self.sustain_db, 100.0 * max(0, frame - self.decay_start) / self.decay)


@lru_cache(maxsize=4096)
def times_of(zone: Zone, key: int, rate: int) -> Times:
    """Return the envelope of a zone."""
    hold = zone.hold_s * power_of_two((60 - key) * zone.hold_by_key)
    decay = zone.decay_s * power_of_two((60 - key) * zone.decay_by_key)
    return Times(
        round(zone.delay_s * rate),
        round(zone.attack_s * rate),
        round(min(100.0, hold) * rate),
        max(1, round(min(101.0, decay) * rate)),
        max(1, round(zone.release_s * rate)),
        zone.sustain_db,
    )


def _step(pack: VoicePack, zone: Zone, key: int, rate: int, tune: float) -> int:
    """Return the frames of a sample for each frame of sound, with 32 bits of fraction."""
    speed = speed_of(zone.root, zone.scale, key, tune) * pack.samples[zone.sample].rate / rate
    return max(1, round(speed * (1 << 32)))


def zone_frames(pack: VoicePack, zone: Zone, key: int, rate: int, held: int, tune: float = 0.0) -> int:
    """Return how long a zone can be heard in a note that is held for `held` frames."""
    times = times_of(zone, key, rate)
    left_db = max(0.0, SILENT_DB - times.fallen_db(held))
    frames = held + int(times.release * left_db / 100.0)
    if times.sustain_db >= SILENT_DB:
        frames = min(frames, times.decay_start + int(times.decay * SILENT_DB / 100.0))
    sample = pack.samples[zone.sample]
    if not sample.loop_end:
        frames = min(frames, times.delay + (sample.frames << 32) // _step(pack, zone, key, rate, tune))
    return frames


def piece(pack: VoicePack, zones: tuple[int, ...], key: int, rate: int, number: int, tune: float = 0.0) -> Stereo:
    """Return a piece of the sum of zones, as if the note were held for ever."""
    cached = (pack.digest, zones, key, rate, number, tune)
    return PIECES.get(cached, lambda: make_piece(pack, zones, key, rate, number, tune))


def piece_frames(rate: int) -> int:
    """Return the length of a piece."""
    return -(-rate // PIECES_PER_SECOND)


def make_piece(pack: VoicePack, zones: tuple[int, ...], key: int, rate: int, number: int, tune: float = 0.0) -> Stereo:
    """Make a piece without the cache."""
    frames = piece_frames(rate)
    first = number * frames
    found = np.zeros((2, frames), dtype=np.float32)
    for index in zones:
        zone = pack.zones[index]
        times = times_of(zone, key, rate)
        begin = max(first, times.delay)
        if begin >= first + frames:
            continue
        sound = _filtered(pack, zone, key, rate, begin - times.delay, first + frames - begin, tune)
        level = _level(times, begin, len(sound))
        if level is not None:
            sound *= level
        at = begin - first
        for side, gain in enumerate((zone.left, zone.right)):
            if gain:
                found[side, at : at + len(sound)] += sound * np.float32(gain)
    return np.ascontiguousarray(found.T)


def _level(times: Times, first: int, frames: int) -> Mono | None:
    """Return attack, hold, decay and sustain of a held note; None where the level is 1 all the time."""
    at = first - times.delay
    if at >= times.attack and (first + frames <= times.decay_start or not times.sustain_db):
        return None
    floor = power_of_two(FALL_BITS / 100.0 * times.sustain_db)
    level = np.ones(frames)
    begin = max(0, times.decay_start - first)
    if begin < frames:
        fallen = fall_of(times.decay).at(first + begin - times.decay_start, frames - begin)
        level[begin:] = np.maximum(fallen, floor)
    if at < times.attack:
        rise = (frame_numbers(frames) + at) * (1.0 / times.attack)
        np.minimum(level, rise, out=level)
    return level.astype(np.float32)


def _filtered(pack: VoicePack, zone: Zone, key: int, rate: int, first: int, frames: int, tune: float) -> Mono:
    """Return the sample from a frame on, through the low pass of its zone."""
    taps = low_pass(zone.cutoff_hz, zone.resonance_db, rate)
    if taps is None:
        return _resampled(pack, zone, key, rate, first, frames, tune)
    before = min(first, len(taps) - 1)
    dry = _resampled(pack, zone, key, rate, first - before, frames + before, tune)
    found = np.zeros(frames, dtype=np.float32)
    for number, weight in enumerate(taps):
        skip = max(0, number - before)
        if skip < frames:
            found[skip:] += dry[before + skip - number : before + frames - number] * weight
    return found


def _resampled(pack: VoicePack, zone: Zone, key: int, rate: int, first: int, frames: int, tune: float) -> Mono:
    """Read a sample at a pitch by a cubic through the four nearest frames."""
    sample = pack.samples[zone.sample]
    step = _step(pack, zone, key, rate, tune)
    found = np.zeros(frames, dtype=np.float32)
    last, begin = frames, first * step
    # The first pass ends one frame after the loop: then the frame before is within the loop, too.
    start, length = (sample.loop_start + 1) << 32, (sample.loop_end - sample.loop_start) << 32
    if not sample.loop_end:
        last = min(frames, max(0, -((begin - (sample.frames << 32)) // step)))
    elif begin >= start:
        begin = (begin - start) % length + start
    if not last:
        return found
    phase = frame_numbers(last) * step + begin
    if sample.loop_end and int(phase[-1]) >= start + length:
        phase = np.where(phase >= start, np.remainder(phase - start, length) + start, phase)
    found[:last] = _interpolated(pack.stored(sample), phase)
    return found


def _interpolated(stored: NDArray[np.int16], phase: NDArray[np.int64]) -> Float32:
    index = (phase >> 32) + (BEFORE - 1)
    between = ((phase & 0xFFFFFFFF) >> 8).astype(np.float32)
    between *= np.float32(1.0 / (1 << 24))
    low, high = int(index.min()), int(index.max()) + 4
    part = stored[low:high].astype(np.float32)
    index -= low
    before, here = part.take(index), part.take(index + 1)
    after, beyond = part.take(index + 2), part.take(index + 3)
    # Catmull and Rom's cubic, as products and sums in one order.
    half = np.float32(0.5)
    found = (here - after) * np.float32(3.0) + (beyond - before)
    found *= between
    found += (before * np.float32(2.0) - here * np.float32(5.0)) + (after * np.float32(4.0) - beyond)
    found *= between
    found += after - before
    found *= between * half
    found += here
    found *= np.float32(FULL_SCALE)
    return found


@lru_cache(maxsize=1024)
def low_pass(cutoff_hz: float, resonance_db: float, rate: int) -> Float32 | None:
    """Return the impulse response of a resonant low pass of second order; None for one that does nothing."""
    if not cutoff_hz or cutoff_hz >= 0.42 * rate:
        return None
    turn = round(cutoff_hz / rate * (1 << SINE_BITS))
    sine = float(SINE[turn])
    cosine = float(SINE[(turn + (1 << SINE_BITS) // 4) & ((1 << SINE_BITS) - 1)])
    alpha = sine / 2.0 / power_of_two((resonance_db - 3.01) * 0.16609640474436812)
    gain = (1.0 - cosine) / 2.0 / (1.0 + alpha)
    first, second = 2.0 * cosine / (1.0 + alpha), (alpha - 1.0) / (1.0 + alpha)
    found: list[float] = []
    one, two = 0.0, 0.0
    loud = 0.0
    for number in range(MAX_TAPS):
        here = first * one + second * two + gain * ((1.0, 2.0, 1.0)[number] if number < 3 else 0.0)
        one, two = here, one
        found.append(here)
        loud = max(loud, abs(here))
        if number > 8 and max(abs(one), abs(two)) < loud * 0.001:
            break
    taps = np.array(found)
    total = 0.0
    for tap in found:
        total += tap
    return (taps * (1.0 / total)).astype(np.float32) if total else None
