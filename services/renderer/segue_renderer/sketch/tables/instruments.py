"""The voices of the band, and the instrument names that they play. To add an instrument, add an entry."""

from __future__ import annotations

from typing import Final

from segue_renderer.sketch.tables.voices import HeldVoice, StruckVoice, Voice


def saw(count: int, slope: float = 1.0) -> tuple[float, ...]:
    """Return the partials of a sawtooth; `slope` makes them fall faster or slower."""
    return tuple(round((1.0 / n) * (1.0 / (1.0 + (slope - 1.0) * (n - 1) * 0.25)), 6) for n in range(1, count + 1))


def odd(count: int, evens: float = 0.0) -> tuple[float, ...]:
    """Return the partials of a square wave or a reed."""
    return tuple(round((1.0 if n % 2 else evens) / n, 6) for n in range(1, count + 1))


def plucked(count: int, place: int) -> tuple[float, ...]:
    """Return the partials of a plucked string: partials with a node at the plucked point are weak."""
    return tuple(round((0.08 if n % place == 0 else 1.0) / n, 6) for n in range(1, count + 1))


VOICES: Final[dict[str, Voice]] = {
    "piano": StruckVoice(
        (1.0, 0.7, 0.42, 0.33, 0.2, 0.16, 0.12, 0.09, 0.075, 0.06, 0.045, 0.036, 0.03, 0.024, 0.02, 0.016),
        0.75, stretch=0.00012, soft_dulling=0.42, knock=0.09, knock_hz=280.0, length_s=4.0, damp_s=0.14,
        width=0.35,
        body=(4.0, -4.5, -4.5, -4.5, -4.5, -1.0, 5.0, 7.0),
    ),
    "electric piano": StruckVoice(
        (1.0, 0.1, 0.05, 0.09), 0.85, ratios=(1.0, 2.0, 7.02, 14.1), partial_fade=0.6, soft_dulling=0.7,
        pitch_fade=0.4, length_s=3.2, damp_s=0.16, width=0.3, fm_amount=2.4, knock=0.03, knock_hz=420.0,
    ),
    "guitar": StruckVoice(
        plucked(36, 7), 0.42, pitch_fade=0.45, partial_fade=0.1, soft_dulling=0.2, stretch=0.00003, damp_s=0.1,
        length_s=2.6, width=0.3, pan=-0.15, knock=0.06, knock_hz=190.0,
        body=(0.0, -4.5, -4.5, 1.0, 0.5, -4.0, 8.0, 9.0),
    ),
    "clean guitar": StruckVoice(
        plucked(22, 5), 0.55, pitch_fade=0.4, partial_fade=0.35, soft_dulling=0.7, damp_s=0.06, length_s=2.4,
        chorus_cents=5.0,
        body=(-4.5, -4.5, -3.0, -1.5, -4.5, 5.5, 8.0, -4.5),
    ),
    "nylon guitar": StruckVoice(
        plucked(24, 6), 0.36, pitch_fade=0.45, partial_fade=0.38, soft_dulling=0.5, damp_s=0.12, length_s=2.2,
        width=0.25, pan=-0.15, knock=0.07, knock_hz=160.0, attack_s=0.003,
        body=(-4.5, -3.0, -1.0, -3.5, 5.0, -3.0, 7.5, 7.0),
    ),
    "mandolin": StruckVoice(
        plucked(16, 8), 0.2, pitch_fade=0.4, partial_fade=0.25, soft_dulling=0.4, damp_s=0.08, length_s=1.4,
        chorus_cents=9.0, knock=0.05, knock_hz=330.0,
    ),
    # The flat bridge feeds the high partials while the string sounds.
    "sitar": StruckVoice(
        tuple(round(0.9 / n**0.5, 6) for n in range(1, 23)), 0.7, pitch_fade=0.4, partial_fade=0.02,
        soft_dulling=0.25, damp_s=0.3, length_s=3.0, chorus_cents=4.0,
        body=(0.0, 0.0, -4.5, -1.0, -4.0, -4.5, -2.0, 1.0),
    ),
    "koto": StruckVoice(
        plucked(20, 4), 0.34, pitch_fade=0.45, partial_fade=0.3, soft_dulling=0.5, damp_s=0.3, length_s=2.4,
        width=0.35, knock=0.08, knock_hz=520.0,
        body=(4.0, 4.0, -4.5, -4.5, 0.5, 5.5, 8.0, 7.0),
    ),
    "harp": StruckVoice(
        plucked(8, 3), 0.6, pitch_fade=0.5, partial_fade=0.5, soft_dulling=0.6, damp_s=0.4, length_s=3.0,
        width=0.4,
        body=(-4.5, -4.5, -3.5, 1.0, -4.5, -2.5, 0.0, 0.0),
    ),
    "banjo": StruckVoice(
        plucked(24, 9), 0.12, pitch_fade=0.3, partial_fade=0.15, soft_dulling=0.3, damp_s=0.08, length_s=1.0,
        knock=0.1,
        body=(-3.5, -4.5, -4.5, 2.0, 5.5, 5.5, 8.0, 7.0),
    ),
    "harpsichord": StruckVoice(
        plucked(36, 11), 0.4, pitch_fade=0.5, partial_fade=0.08, soft_dulling=0.05, damp_s=0.08, length_s=2.4,
        body=(4.0, -4.5, -4.5, 2.0, -1.5, 1.0, 6.5, 10.0),
    ),
    "upright bass": StruckVoice(
        (0.75, 0.9, 0.46, 0.22, 0.12, 0.07, 0.045, 0.03, 0.022, 0.016, 0.012, 0.01, 0.008, 0.006), 0.5,
        pitch_fade=0.2, partial_fade=0.4, soft_dulling=0.4, damp_s=0.08, length_s=2.0, width=0.0, knock=0.12,
        knock_hz=140.0, attack_s=0.006,
        body=(3.0, -1.5, -4.5, -4.5, 4.0, 0.0, 0.0, 0.0),
    ),
    "electric bass": StruckVoice(
        (0.75, 0.95, 0.6, 0.38, 0.25, 0.16, 0.1, 0.06, 0.04, 0.028, 0.02, 0.014, 0.01, 0.007), 0.8,
        pitch_fade=0.2, partial_fade=0.3, soft_dulling=0.5, damp_s=0.05, length_s=2.4, width=0.0,
        attack_s=0.004,
        body=(-2.0, -0.5, 1.5, 2.0, 5.5, 0.0, 0.0, 0.0),
    ),
    "slap bass": StruckVoice(
        (1.0, 0.85, 0.7, 0.5, 0.42, 0.34, 0.26, 0.2, 0.15, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.045, 0.04,
        0.035), 0.5, pitch_fade=0.2, partial_fade=0.3, soft_dulling=0.2, damp_s=0.04, length_s=1.8, width=0.0,
        attack_s=0.002, knock=0.14, knock_hz=1450.0,
        body=(-2.0, 0.5, -2.0, -2.0, 4.0, 5.5, 8.0, 7.0),
    ),
    "synth bass": StruckVoice(
        saw(14), 0.9, pitch_fade=0.1, partial_fade=0.22, soft_dulling=0.35, damp_s=0.03, length_s=2.0,
        width=0.0, attack_s=0.003,
    ),
    "sub bass": StruckVoice(
        (1.0, 0.35, 0.22, 0.12, 0.05), 1.1, pitch_fade=0.1, partial_fade=0.12, soft_dulling=0.3, damp_s=0.06,
        length_s=3.0, width=0.0, attack_s=0.006, fm_amount=0.8,
    ),
    "bells": StruckVoice(
        (0.4, 0.8, 0.55, 0.3, 0.1), 0.8, ratios=(1.0, 2.0, 2.76, 5.4, 8.93), pitch_fade=0.3, partial_fade=0.25,
        soft_dulling=0.5, damp_s=0.5, length_s=3.2, width=0.4,
        body=(0.0, 0.0, -4.5, -4.5, -4.5, 3.0, 8.0, 4.5),
    ),
    "celesta": StruckVoice(
        (1.0, 0.18, 0.07), 0.6, ratios=(1.0, 3.0, 5.94), pitch_fade=0.4, partial_fade=0.5, soft_dulling=0.6,
        damp_s=0.3, length_s=2.2, width=0.3, knock=0.03, knock_hz=640.0,
    ),
    "steel drum": StruckVoice(
        (1.0, 0.75, 0.32, 0.16, 0.08), 0.42, ratios=(1.0, 2.0, 3.01, 4.06, 5.9), pitch_fade=0.35,
        partial_fade=0.3, soft_dulling=0.5, damp_s=0.2, length_s=2.0, width=0.4, attack_s=0.003,
        body=(-4.5, -4.5, -4.5, -4.5, -4.5, -3.0, 2.5, 6.0),
    ),
    "handpan": StruckVoice(
        (1.0, 0.6, 0.3), 0.9, ratios=(1.0, 2.0, 3.0), pitch_fade=0.3, partial_fade=0.3, soft_dulling=0.7,
        damp_s=0.5, length_s=3.2, width=0.35, attack_s=0.004, knock=0.04, knock_hz=240.0,
    ),
    "mallets": StruckVoice(
        (1.0, 0.28, 0.06), 0.32, ratios=(1.0, 3.98, 9.2), pitch_fade=0.4, partial_fade=0.45, soft_dulling=0.6,
        damp_s=0.2, length_s=1.8, width=0.3, knock=0.08, knock_hz=500.0,
        body=(0.0, -4.5, -4.5, -4.0, -2.0, -4.5, -4.5, -3.0),
    ),
    "vibraphone": StruckVoice(
        (1.0, 0.2, 0.05), 1.1, ratios=(1.0, 4.0, 10.1), pitch_fade=0.35, partial_fade=0.4, soft_dulling=0.6,
        damp_s=0.3, length_s=3.5, width=0.35,
        body=(0.0, 0.0, -4.0, 0.5, -4.5, 1.5, -3.0, 0.0),
    ),
    "pluck synth": StruckVoice(
        saw(28), 0.2, pitch_fade=0.2, partial_fade=0.3, soft_dulling=0.15, damp_s=0.12, length_s=1.2,
        width=0.45,
    ),
    "drive guitar": StruckVoice(
        (1.0, 0.85, 0.8, 0.6, 0.55, 0.42, 0.36, 0.28, 0.24, 0.2, 0.16, 0.14, 0.12, 0.11, 0.1, 0.09, 0.08, 0.07,
        0.06, 0.05), 1.6, pitch_fade=0.2, partial_fade=0.06, soft_dulling=0.15, damp_s=0.05, length_s=4.0,
        width=0.5, attack_s=0.004,
        body=(-4.5, -4.5, -8.0, -5.0, -5.5, 5.5, 9.5, 9.0),
    ),
    "lead guitar": HeldVoice(
        (1.0, 0.9, 0.85, 0.62, 0.55, 0.42, 0.36, 0.27, 0.22, 0.18, 0.15, 0.13, 0.11, 0.1, 0.08, 0.07),
        offsets=(-2.0, 3.0), vibrato_cents=11.0, attack_s=0.008, release_s=0.09, dark=0.8, swell_s=0.05,
        width=0.6,
        body=(4.0, 4.0, -4.5, -4.0, 2.0, 5.0, 9.0, -2.0),
    ),
    "pulse lead": HeldVoice(
        (1.0, 0.71, 0.33, 0.0, 0.2, 0.24, 0.14, 0.0, 0.11, 0.14, 0.09, 0.0, 0.08, 0.1), vibrato_cents=9.0,
        attack_s=0.004, release_s=0.03, dark=0.97, width=0.0, pan=0.08,
    ),
    "pulse bass": HeldVoice(odd(12), attack_s=0.004, release_s=0.03, dark=0.8, width=0.0),
    "drone bass": HeldVoice(
        (0.35, 0.85, 0.5, 0.3, 0.16, 0.08), vibrato_cents=3.0, attack_s=0.25, release_s=0.8, dark=0.7,
        width=0.0,
    ),
    "reese bass": HeldVoice(
        saw(16, 1.2), offsets=(-13.0, 13.0), attack_s=0.01, release_s=0.06, dark=0.7, width=0.0,
    ),
    "pedal steel": HeldVoice(
        (1.0, 0.5, 0.34, 0.2, 0.12, 0.08, 0.05), offsets=(-2.0, 2.0), vibrato_cents=12.0, attack_s=0.05,
        release_s=0.3, dark=0.75, width=0.7,
        body=(0.0, 0.0, -4.5, -4.5, -1.5, 2.5, -1.0, -4.5),
    ),
    "harmonium": HeldVoice(odd(16, 0.8), offsets=(-3.0, 4.0), attack_s=0.09, release_s=0.16, dark=0.72),
    "bagpipes": HeldVoice(
        (0.8, 1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.24, 0.18, 0.12, 0.08), offsets=(-2.0, 2.0), attack_s=0.012,
        release_s=0.03, dark=1.0, width=0.6,
        body=(0.0, 0.0, -4.5, -4.0, 3.0, 5.5, 8.0, -4.0),
    ),
    "harmonica": HeldVoice(
        (0.9, 1.0, 0.55, 0.6, 0.34, 0.3, 0.2, 0.16, 0.14, 0.12, 0.1, 0.08, 0.07, 0.06), offsets=(-3.0, 3.0),
        vibrato_cents=13.0, breath=0.015, attack_s=0.03, release_s=0.08, dark=0.72, swell_s=0.09, width=0.6,
        body=(0.0, 0.0, -2.0, 0.0, 2.0, 5.5, 8.0, 7.0),
    ),
    "oboe": HeldVoice(
        (0.62, 0.85, 1.0, 0.8, 0.42, 0.3, 0.2, 0.13, 0.08, 0.05), vibrato_cents=9.0, breath=0.01,
        attack_s=0.035, release_s=0.08, dark=0.75, swell_s=0.1, width=0.0, pan=-0.12,
        body=(0.0, -4.5, -4.5, -4.5, -4.0, -1.0, -4.5, -4.5),
    ),
    "bassoon": HeldVoice(
        (0.6, 1.0, 0.85, 0.5, 0.36, 0.22, 0.12, 0.09, 0.07, 0.055, 0.045, 0.036, 0.03, 0.024, 0.02, 0.016),
        vibrato_cents=5.0, breath=0.01, attack_s=0.045, release_s=0.09, dark=0.7, width=0.0, pan=0.1,
        body=(-4.5, -4.5, -4.5, 5.5, 5.5, 5.5, 0.0, 0.0),
    ),
    "trumpet": HeldVoice(
        (0.7, 0.9, 1.0, 0.85, 0.7, 0.52, 0.4, 0.3, 0.2, 0.14, 0.1, 0.06), vibrato_cents=8.0, attack_s=0.025,
        release_s=0.08, swell_s=0.09, dark=0.55, width=0.0, pan=0.1,
        body=(0.0, 0.0, -4.5, -4.5, -2.5, 2.5, 2.0, -4.0),
    ),
    "trombone": HeldVoice(
        (0.85, 1.0, 0.8, 0.6, 0.42, 0.3, 0.2, 0.12, 0.07), vibrato_cents=5.0, attack_s=0.045, release_s=0.1,
        swell_s=0.12, dark=0.52, width=0.0, pan=-0.1,
        body=(0.0, -4.5, -4.5, 1.0, 0.5, 3.0, -4.5, 0.0),
    ),
    "whistle": HeldVoice(
        (1.0, 0.12, 0.05), vibrato_cents=11.0, breath=0.03, attack_s=0.025, release_s=0.06, dark=0.8, width=0.0,
        pan=-0.1,
    ),
    "organ": HeldVoice(
        (0.9, 0.7, 0.5, 0.3, 0.0, 0.16, 0.0, 0.14), offsets=(0.0, 4.0), attack_s=0.012, release_s=0.06,
        dark=0.85,
        body=(4.0, 4.0, -0.5, -4.5, -4.5, -4.5, -4.5, 0.0),
    ),
    "accordion": HeldVoice(
        odd(26, 0.7), offsets=(-6.0, 6.0), attack_s=0.03, release_s=0.07, dark=0.75,
        body=(0.0, 0.0, -4.5, -2.5, 3.0, 5.5, 8.0, 6.5),
    ),
    "strings": HeldVoice(
        saw(30, 1.15), offsets=(-9.0, 2.0, 11.0), vibrato_cents=7.0, attack_s=0.13, release_s=0.32, dark=0.84,
        body=(0.0, -4.5, -4.5, 1.0, -1.0, 5.0, 3.0, -4.5),
    ),
    "violin": HeldVoice(
        saw(26, 1.1), offsets=(-3.0, 3.0), vibrato_cents=16.0, attack_s=0.07, release_s=0.14, dark=0.86,
        width=0.8,
        body=(0.0, 0.0, -0.5, 2.0, 0.0, 3.0, 5.5, -2.0),
    ),
    # The body is too small for the lowest fundamentals: the second and third partials carry them.
    "cello": HeldVoice(
        (0.22, 0.85, 1.0, 0.72, 0.5, 0.42, 0.34, 0.26, 0.22, 0.18, 0.15, 0.12, 0.1, 0.08, 0.07, 0.06, 0.05,
        0.04, 0.036, 0.032, 0.028, 0.025, 0.022, 0.02, 0.018, 0.016, 0.014, 0.013, 0.012, 0.011, 0.01, 0.009),
        vibrato_cents=8.0, attack_s=0.08, release_s=0.16, dark=0.85, width=0.0,
        body=(-4.5, -1.5, -4.5, -2.0, -4.5, 5.5, 2.0, 0.0),
    ),
    "pad": HeldVoice(
        (1.0, 0.5, 0.24, 0.14, 0.08, 0.05, 0.025), offsets=(-10.0, 3.0, 9.0), attack_s=0.5, release_s=0.9,
        dark=0.6,
    ),
    "flute": HeldVoice(
        (1.0, 0.42, 0.16, 0.07, 0.03), offsets=(0.0,), vibrato_cents=11.0, breath=0.05, attack_s=0.05,
        release_s=0.09, dark=0.72, width=0.0, pan=0.15,
        body=(0.0, -4.5, -4.5, -4.5, -1.5, 1.0, -3.0, -4.5),
    ),
    "reed": HeldVoice(
        (1.0, 0.62, 0.75, 0.42, 0.44, 0.26, 0.22, 0.13, 0.1, 0.06, 0.04), offsets=(0.0,), vibrato_cents=14.0,
        breath=0.03, attack_s=0.035, release_s=0.08, dark=0.72, swell_s=0.12, width=0.0, pan=-0.1,
        body=(0.0, -4.5, -1.5, -3.5, 2.0, -0.5, -4.5, -4.5),
    ),
    "clarinet": HeldVoice(
        odd(20, 0.3), offsets=(0.0,), vibrato_cents=5.0, breath=0.02, attack_s=0.04, release_s=0.08, dark=0.7,
        width=0.0, pan=0.12,
        body=(0.0, -4.5, -4.5, -4.5, -4.5, 5.5, 1.5, -4.5),
    ),
    "brass": HeldVoice(
        (1.0, 0.98, 0.92, 0.8, 0.64, 0.52, 0.4, 0.31, 0.24, 0.18, 0.13, 0.1, 0.07, 0.05), offsets=(-3.0, 4.0),
        vibrato_cents=5.0, attack_s=0.035, release_s=0.09, swell_s=0.1, dark=0.7, width=0.7,
        body=(0.0, 0.0, -4.5, 5.0, 5.5, 5.5, 6.0, -2.0),
    ),
    "horn": HeldVoice(
        (1.0, 0.8, 0.55, 0.34, 0.2, 0.12, 0.07, 0.04), offsets=(-2.0, 3.0), vibrato_cents=4.0, attack_s=0.07,
        release_s=0.14, swell_s=0.18, dark=0.66, width=0.7,
        body=(0.0, -4.5, 2.0, 5.5, 2.0, 3.0, 5.5, 0.0),
    ),
    "lead": HeldVoice(
        saw(26), offsets=(-7.0, 0.0, 7.0), vibrato_cents=6.0, attack_s=0.012, release_s=0.12, dark=0.8,
        width=0.7,
    ),
    "square lead": HeldVoice(
        odd(20, 0.15), offsets=(-4.0, 4.0), vibrato_cents=8.0, attack_s=0.01, release_s=0.1, dark=0.8,
        width=0.7,
    ),
    "synth chords": HeldVoice(saw(26, 1.2), offsets=(-11.0, 0.0, 9.0), attack_s=0.008, release_s=0.16, dark=0.66),
    "choir": HeldVoice(
        formants=((620.0, 120.0, 1.0), (1080.0, 150.0, 0.6), (2600.0, 320.0, 0.42)), offsets=(-8.0, 0.0, 9.0),
        vibrato_cents=12.0, breath=0.012, attack_s=0.16, release_s=0.35, dark=0.9,
        body=(0.0, 0.0, -0.5, -1.0, 5.0, 1.5, 8.0, 0.0),
    ),
    "oohs": HeldVoice(
        formants=((330.0, 80.0, 1.0), (760.0, 120.0, 0.35), (2400.0, 300.0, 0.05)), offsets=(-7.0, 2.0, 8.0),
        vibrato_cents=10.0, breath=0.012, attack_s=0.2, release_s=0.4, dark=0.85,
        body=(0.0, 0.0, 4.0, 5.0, 5.5, 5.5, 8.0, 7.0),
    ),
}  # fmt: skip
BACKGROUNDS: Final = ("vinyl crackle", "rain sounds", "noise")
"""Textures without notes: background noise under the whole section."""
LOWEST: Final = {"cello": 36, "bassoon": 34, "accordion": 36, "piano": 33, "guitar": 40, "clean guitar": 40}
"""The lowest note of voices that can play the bass layer, when it is above the lowest note of a bass."""
# The first word that occurs in an instrument's name decides.
ALIASES: Final[tuple[tuple[str, str], ...]] = (
    ("electric piano", "electric piano"), ("rhodes", "electric piano"), ("wurlitzer", "electric piano"),
    ("slap bass", "slap bass"), ("reese", "reese bass"), ("synth bass", "synth bass"), ("sub bass", "sub bass"),
    ("808", "sub bass"), ("upright bass", "upright bass"), ("double bass", "upright bass"), ("bassoon", "bassoon"),
    ("bass", "electric bass"), ("cello", "cello"), ("tuba", "horn"),
    ("electric guitar", "clean guitar"), ("nylon guitar", "nylon guitar"), ("guitar", "guitar"),
    ("ukulele", "nylon guitar"), ("banjo", "banjo"), ("mandolin", "mandolin"),
    # Before "lute", because "flute" contains it.
    ("flute", "flute"), ("lute", "nylon guitar"),
    ("sitar", "sitar"), ("koto", "koto"), ("harpsichord", "harpsichord"), ("clavinet", "harpsichord"),
    ("bandoneon", "accordion"), ("accordion", "accordion"), ("harmonium", "harmonium"), ("tanpura", "harmonium"),
    ("organ", "organ"), ("violin", "violin"), ("fiddle", "violin"), ("erhu", "violin"), ("viola", "violin"),
    ("string", "strings"), ("orchestra", "strings"), ("choir pad", "choir"), ("pad", "pad"), ("drone", "pad"),
    ("ambience", "pad"), ("texture", "pad"), ("shakuhachi", "flute"), ("ocarina", "whistle"),
    ("whistle", "whistle"), ("sax", "reed"), ("clarinet", "clarinet"), ("oboe", "oboe"), ("harmonica", "harmonica"),
    ("bagpipe", "bagpipes"), ("didgeridoo", "bassoon"), ("french horn", "horn"), ("horns", "brass"), ("horn", "horn"),
    ("trumpet", "trumpet"), ("trombone", "trombone"), ("brass", "brass"), ("pedal steel", "pedal steel"),
    ("steel drum", "steel drum"), ("hang", "handpan"), ("singing bowl", "handpan"), ("vibraphone", "vibraphone"),
    ("glockenspiel", "bells"), ("music box", "celesta"), ("celesta", "celesta"), ("wind chimes", "bells"),
    ("bell", "bells"), ("marimba", "mallets"), ("xylophone", "mallets"), ("kalimba", "mallets"), ("harp", "harp"),
    ("oohs", "oohs"), ("humming", "oohs"), ("spoken word", "oohs"), ("choir", "choir"), ("voice", "choir"),
    ("vocal", "choir"), ("sing", "choir"), ("aahs", "choir"), ("arp", "pluck synth"), ("lead", "lead"),
    ("melody", "lead"), ("synth", "synth chords"), ("piano", "piano"), ("keys", "piano"), ("chords", "piano"),
)  # fmt: skip


def voice_for(instrument: str) -> str:
    """Return the voice that plays an instrument; empty when no voice is similar."""
    wanted = instrument.lower()
    return next((voice for word, voice in ALIASES if word in wanted), "")


SUBSTITUTED: Final = ("rap", "spoken word", "beatbox", "throat singing", "didgeridoo", "tanpura", "erhu")
"""Instruments that another instrument's voice replaces; the result has a warning."""


def is_substituted(instrument: str) -> bool:
    """Return whether another instrument replaces this one; the result then has a warning."""
    wanted = instrument.lower()
    return not voice_for(wanted) or any(word in wanted for word in SUBSTITUTED)
