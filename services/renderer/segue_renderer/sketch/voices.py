"""Instruments: one function a voice, from a note to stereo sound.

All are additive or FM synthesis of partials below the Nyquist frequency, so that nothing aliases. Envelopes are
rational functions: exp and pow give other last digits on other CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Sound = NDArray[np.float64]
    Voice = Callable[[float, float, float, int], Sound]

TWO_PI: Final = 6.283185307179586
SEMITONE: Final = 1.0594630943592953
RELEASE_S: Final = 0.12
ATTACK_S: Final = 0.004


def _frequencies() -> tuple[float, ...]:
    # By multiplication only, from A4 = 440 Hz.
    table = [440.0] * 128
    for pitch in range(70, 128):
        table[pitch] = table[pitch - 1] * SEMITONE
    for pitch in range(68, -1, -1):
        table[pitch] = table[pitch + 1] / SEMITONE
    return tuple(table)


FREQUENCY: Final = _frequencies()


def times(seconds: float, rate: int) -> Sound:
    """Return the time of each frame."""
    return np.arange(round(seconds * rate), dtype=np.float64) / rate


def gate(time: Sound, held_s: float, attack_s: float, release_s: float) -> Sound:
    """Return an envelope that rises, holds, and falls after held_s; smooth at its corners."""
    rise = np.minimum(1.0, time / attack_s)
    fall = np.clip(1.0 - (time - held_s) / release_s, 0.0, 1.0)
    envelope: Sound = rise * rise * (3 - 2 * rise) * fall * fall * (3 - 2 * fall)
    return envelope


def decay(time: Sound, half_s: float) -> Sound:
    """Return a fall like that of a string: half after half_s."""
    bent = 1.0 / (1.0 + 0.41421356 * time / half_s)
    return bent * bent


def partials(
    time: Sound, frequency: float, rate: int, weights: tuple[float, ...], half_s: float, stretch: float = 0.0
) -> Sound:
    """Sum decaying partials; the higher ones fall faster, and lie a little sharp on stiff strings."""
    sound = np.zeros_like(time)
    for number, weight in enumerate(weights, start=1):
        partial = frequency * number * (1.0 + stretch * number * number)
        if partial > rate * 0.45:
            break
        sound += weight * decay(time, half_s / (0.6 + 0.4 * number)) * np.sin(TWO_PI * partial * time)
    return sound


def held(time: Sound, frequency: float, rate: int, weights: tuple[float, ...], vibrato: float, phase: float) -> Sound:
    """Sum steady partials with vibrato that comes in late."""
    depth = np.minimum(1.0, time / 0.5) * vibrato
    angle = TWO_PI * frequency * time + depth * np.sin(TWO_PI * 5.2 * time + phase)
    sound = np.zeros_like(time)
    for number, weight in enumerate(weights, start=1):
        if frequency * number > rate * 0.42:
            break
        sound += weight * np.sin(number * angle + phase * number)
    return sound


def stereo(left: Sound, right: Sound) -> Sound:
    """Put two sides together."""
    return np.stack((left, right), axis=1)


def wide(mono: Sound, pan: float) -> Sound:
    """Place a sound between left (-1) and right (1)."""
    return stereo(mono * (1.0 - 0.5 * max(0.0, pan)), mono * (1.0 + 0.5 * min(0.0, pan)))


def electric_piano(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A tine and its tone bar: FM that mellows as it rings."""
    time = times(held_s + 0.35, rate)
    index = (0.5 + 1.6 * level) * decay(time, 0.35)
    body = np.sin(TWO_PI * frequency * time + index * np.sin(TWO_PI * frequency * time))
    tine = 0.12 * level * decay(time, 0.06) * np.sin(TWO_PI * min(frequency * 14, rate * 0.4) * time)
    sound = (body * decay(time, 1.1) + tine) * gate(time, held_s, 0.003, 0.35)
    sway = 0.18 * np.sin(TWO_PI * 4.1 * time)
    return stereo(sound * (1 + sway), sound * (1 - sway)) * 0.55


def piano(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Struck strings, two a note."""
    time = times(held_s + 0.4, rate)
    bright = 0.35 + 0.65 * level
    weights = (1.0, 0.55 * bright, 0.36 * bright, 0.24 * bright, 0.17 * bright, 0.11 * bright, 0.07 * bright)
    half_s = 0.25 + 180.0 / (frequency + 60.0)
    one = partials(time, frequency * 0.9997, rate, weights, half_s, 0.00012)
    two = partials(time, frequency * 1.0003, rate, weights, half_s, 0.00012)
    knock = 0.05 * level * decay(time, 0.004) * np.sin(TWO_PI * 310.0 * time)
    envelope = gate(time, held_s, 0.002, 0.3)
    return stereo((one * 0.7 + two * 0.4 + knock) * envelope, (one * 0.4 + two * 0.7 + knock) * envelope) * 0.42


def pluck(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A plucked string."""
    time = times(held_s + 0.25, rate)
    # Plucked at a seventh of its length: every seventh partial is missing.
    weights = tuple((0.9 if n % 7 else 0.05) / n * (1.0 if n < 4 else level) for n in range(1, 13))
    sound = partials(time, frequency, rate, weights, 0.16 + 60.0 / (frequency + 80.0), 0.00004)
    return wide(sound * gate(time, held_s, 0.002, 0.2) * 0.6, -0.25)


def organ(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Drawbars through a slow rotor."""
    time = times(held_s + 0.1, rate)
    sound = held(time, frequency, rate, (0.9, 0.6, 0.35, 0.25, 0.0, 0.12, 0.0, 0.1), 0.0, 0.0)
    rotor = 0.15 * np.sin(TWO_PI * 0.9 * time)
    sound = sound * gate(time, held_s, 0.01, 0.08) * (0.3 + 0.1 * level)
    return stereo(sound * (1 + rotor), sound * (1 - rotor))


def bass(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A fingered string with a soft edge."""
    time = times(held_s + 0.1, rate)
    sound = partials(time, frequency, rate, (1.0, 0.5 * level, 0.22 * level, 0.1 * level), 0.9)
    sound = sound * gate(time, held_s, 0.006, 0.09) * 1.3
    sound = sound / (1.0 + 0.35 * np.abs(sound))
    return stereo(sound, sound) * 0.75


def synth_bass(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A saw of few partials that closes quickly."""
    time = times(held_s + 0.06, rate)
    weights = tuple(1.0 / n * (1.0 if n < 3 else 0.5 + 0.5 * level) for n in range(1, 10))
    sound = partials(time, frequency, rate, weights, 0.5) * gate(time, held_s, 0.004, 0.05)
    sub = 0.5 * np.sin(TWO_PI * frequency * time) * gate(time, held_s, 0.004, 0.05)
    sound = sound + sub
    return stereo(sound, sound) * 0.55 / (1.0 + 0.2 * level)


def strings(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Several players who do not agree on the pitch to the last cent."""
    time = times(held_s + 0.6, rate)
    weights = tuple(1.0 / n / (1 + 0.15 * n) for n in range(1, 9))
    envelope = gate(time, held_s, min(0.35, 0.1 + held_s * 0.3), 0.55)
    left = held(time, frequency * 0.9983, rate, weights, 0.012, 0.3) + held(time, frequency, rate, weights, 0.01, 1.9)
    right = held(time, frequency * 1.0017, rate, weights, 0.011, 1.1) + held(time, frequency, rate, weights, 0.013, 2.7)
    return stereo(left * envelope, right * envelope) * (0.12 + 0.1 * level)


def pad(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A warm bed."""
    time = times(held_s + 0.9, rate)
    weights = (1.0, 0.35, 0.16, 0.08, 0.04)
    envelope = gate(time, held_s, min(0.6, 0.15 + held_s * 0.35), 0.85)
    left = held(time, frequency * 0.9977, rate, weights, 0.02, 0.0) + held(
        time, frequency * 1.0011, rate, weights, 0.0, 2.0
    )
    right = held(time, frequency * 1.0023, rate, weights, 0.02, 1.3) + held(
        time, frequency * 0.9989, rate, weights, 0.0, 0.7
    )
    return stereo(left * envelope, right * envelope) * (0.16 + 0.1 * level)


def flute(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Breath and a little vibrato."""
    time = times(held_s + 0.12, rate)
    sound = held(time, frequency, rate, (1.0, 0.28 * level, 0.12 * level, 0.04), 0.03, 0.0)
    return wide(sound * gate(time, held_s, 0.045, 0.1) * 0.4, 0.2)


def reed(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A reed: strong odd partials."""
    time = times(held_s + 0.1, rate)
    weights = (1.0, 0.45, 0.6, 0.3, 0.35, 0.18 * level, 0.2 * level, 0.08, 0.08)
    return wide(held(time, frequency, rate, weights, 0.028, 0.4) * gate(time, held_s, 0.03, 0.09) * 0.24, 0.15)


def brass(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Opens up as it is blown."""
    time = times(held_s + 0.12, rate)
    swell = np.minimum(1.0, time / 0.09)
    dull = held(time, frequency, rate, (1.0, 0.4, 0.15), 0.015, 0.0)
    bright = held(time, frequency, rate, (0.2, 0.5, 0.6, 0.5, 0.38, 0.28, 0.2, 0.13), 0.015, 0.0)
    sound = dull * (1.2 - 0.6 * swell) + bright * swell * (0.3 + 0.7 * level)
    return wide(sound * gate(time, held_s, 0.04, 0.1) * 0.24, -0.15)


def lead(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A synth lead: two saws and some vibrato."""
    time = times(held_s + 0.1, rate)
    weights = tuple(1.0 / n for n in range(1, 16))
    left = held(time, frequency * 0.9988, rate, weights, 0.03, 0.0)
    right = held(time, frequency * 1.0012, rate, weights, 0.03, 0.5)
    envelope = gate(time, held_s, 0.012, 0.09) * (0.16 + 0.08 * level)
    return stereo((left + 0.4 * right) * envelope, (right + 0.4 * left) * envelope)


def bells(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """A struck bar: partials that are not whole multiples."""
    time = times(held_s + 1.2, rate)
    sound = np.zeros_like(time)
    for ratio, weight, half_s in (
        (1.0, 1.0, 0.7),
        (2.76, 0.4, 0.35),
        (5.4, 0.2 * level, 0.16),
        (8.93, 0.08 * level, 0.08),
    ):
        if frequency * ratio < rate * 0.45:
            sound += weight * decay(time, half_s) * np.sin(TWO_PI * frequency * ratio * time)
    return wide(sound * gate(time, held_s + 0.9, 0.002, 0.3) * 0.4, 0.3)


def choir(frequency: float, held_s: float, level: float, rate: int) -> Sound:
    """Voices on "aah": partials weighted by the formants of the mouth."""
    time = times(held_s + 0.5, rate)
    weights = tuple(_formant(frequency * n) / n for n in range(1, 19))
    envelope = gate(time, held_s, min(0.3, 0.1 + held_s * 0.2), 0.45)
    left = held(time, frequency * 0.9979, rate, weights, 0.03, 0.0) + held(
        time, frequency * 1.0007, rate, weights, 0.025, 1.0
    )
    right = held(time, frequency * 1.0019, rate, weights, 0.03, 2.0) + held(
        time, frequency * 0.9991, rate, weights, 0.022, 3.0
    )
    return stereo(left * envelope, right * envelope) * (0.22 + 0.12 * level)


def _formant(frequency: float) -> float:
    found = 0.08
    for centre, width, weight in ((700.0, 130.0, 1.0), (1150.0, 160.0, 0.55), (2600.0, 260.0, 0.25)):
        off = (frequency - centre) / width
        found += weight / (1.0 + off * off)
    return found


VOICES: Final[Mapping[str, Voice]] = {
    "electric piano": electric_piano, "piano": piano, "guitar": pluck, "organ": organ, "bass": bass,
    "synth bass": synth_bass, "strings": strings, "pad": pad, "flute": flute, "reed": reed, "brass": brass,
    "lead": lead, "bells": bells, "choir": choir,
}  # fmt: skip
ALIASES: Final[tuple[tuple[str, str], ...]] = (
    ("electric piano", "electric piano"), ("rhodes", "electric piano"), ("wurlitzer", "electric piano"),
    ("synth bass", "synth bass"), ("sub bass", "synth bass"), ("808", "synth bass"), ("bass", "bass"),
    ("cello", "bass"), ("tuba", "bass"), ("guitar", "guitar"), ("ukulele", "guitar"), ("banjo", "guitar"),
    ("harp", "guitar"), ("organ", "organ"), ("accordion", "organ"), ("strings", "strings"),
    ("string section", "strings"), ("violin", "strings"), ("viola", "strings"), ("pad", "pad"),
    ("drone", "pad"), ("ambience", "pad"),
    ("flute", "flute"), ("whistle", "flute"), ("sax", "reed"), ("clarinet", "reed"), ("oboe", "reed"),
    ("harmonica", "reed"), ("trumpet", "brass"), ("trombone", "brass"), ("horn", "brass"), ("brass", "brass"),
    ("bells", "bells"), ("glockenspiel", "bells"), ("marimba", "bells"), ("vibraphone", "bells"),
    ("xylophone", "bells"), ("kalimba", "bells"), ("music box", "bells"), ("choir", "choir"), ("voice", "choir"),
    ("vocal", "choir"), ("sing", "choir"), ("lead", "lead"), ("arp", "lead"), ("synth", "lead"), ("piano", "piano"),
    ("keys", "piano"), ("harpsichord", "guitar"),
)  # fmt: skip


def voice_for(instrument: str, default: str) -> tuple[str, bool]:
    """Return the voice that plays an instrument, and whether it is known here."""
    wanted = instrument.lower()
    for word, voice in ALIASES:
        if word in wanted:
            return voice, True
    return default, not wanted
