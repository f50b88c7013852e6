"""How notes are played: no two strokes are equal, and held notes of a soloist slide and get their vibrato late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.elements import LayerKind
from segue_music.programs import slide_cents
from segue_renderer.sketch.sound.sounding_notes import Glide, Stroke
from segue_renderer.sketch.tables.voices import HeldVoice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import Note
    from segue_renderer.sketch.tables.voices import Voice

PURPOSE: Final = 77
"""Names the random numbers of strokes; those of the score have others."""
MACHINE_MS: Final = 2.0
"""Players that are looser than this are people; machines vary less."""
MACHINE_SHARE: Final = 0.4
GAIN: Final = 0.05
COLOUR: Final = 0.28
LATE_S: Final = 0.0012
DELAYS_S: Final = (0.00004, 0.00014)
VIBRATO_AFTER_S: Final = 0.3
STEADY_S: Final = 0.45
"""Shorter notes keep the vibrato of their voice: there is no time to begin without."""
SLIDE_S: Final = 0.09
SOLO_PLAYERS: Final = 2
"""More detuned players are a section: their vibrato never starts together."""
SOLO_LAYERS: Final = frozenset({LayerKind.LEAD, LayerKind.VOCALS})


def strokes(notes: Sequence[Note], seed: int, rate: int, loose_ms: float) -> Iterator[Stroke]:
    """Return how each note is struck; a layer has random numbers of its own."""
    share = 1.0 if loose_ms >= MACHINE_MS else MACHINE_SHARE
    draws = {kind: np.random.default_rng((seed, int(kind), PURPOSE)) for kind in {note.layer for note in notes}}
    for note in notes:
        gain, colour, delay, late = (float(each) for each in draws[note.layer].random(4))
        yield Stroke(
            gain=1.0 + GAIN * share * (gain - 0.5),
            colour=COLOUR * share * (colour - 0.5),
            delay=max(1, round((DELAYS_S[0] + (DELAYS_S[1] - DELAYS_S[0]) * delay) * rate)),
            late=round(LATE_S * share * late * rate),
        )


def glide(voice: Voice, genre: str, note: Note, before: Note | None, held: int, rate: int) -> Glide | None:
    """Return how the pitch of a note comes to rest, or None when it is at rest from the start."""
    if not isinstance(voice, HeldVoice) or note.layer not in SOLO_LAYERS:
        return None
    cents = slide_cents(genre, before, note)
    slide = min(round(SLIDE_S * rate), held // 3) if cents else 0
    solo = voice.vibrato_cents and len(voice.offsets) <= SOLO_PLAYERS
    settles = round(VIBRATO_AFTER_S * rate) if solo and held >= STEADY_S * rate else 0
    return Glide(max(settles, slide), slide, cents) if settles or slide else None
