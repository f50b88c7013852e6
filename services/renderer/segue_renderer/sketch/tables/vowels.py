"""The voices that sing words: one for each vowel."""

from __future__ import annotations

from typing import Final

from segue_renderer.sketch.tables.voices import HeldVoice

RESONANCES: Final = {
    "a": ((720.0, 110.0, 1.0), (1150.0, 130.0, 0.7)),
    "e": ((480.0, 90.0, 1.0), (1850.0, 180.0, 1.0)),
    "i": ((300.0, 80.0, 1.0), (2250.0, 220.0, 1.6)),
    "o": ((470.0, 90.0, 1.0), (830.0, 110.0, 0.6)),
    "u": ((320.0, 80.0, 1.0), (720.0, 100.0, 0.35)),
}
"""Centre, width and weight of the two resonances that make a vowel."""
RING: Final = ((2850.0, 260.0, 0.6), (3500.0, 350.0, 0.25))
"""The resonances of a trained voice, which carry it through a band."""

SUNG: Final = {
    vowel: HeldVoice(
        formants=(*formants, *RING), vibrato_cents=16.0, breath=0.02, attack_s=0.035, release_s=0.06, dark=0.93,
        width=0.0,
    )
    for vowel, formants in RESONANCES.items()
}  # fmt: skip
"""One singer in the middle; all vowels are equally loud."""
