"""The sound of one piece within its genre: its room, its stereo width, and how its instruments are built and set up.

All sections of a piece share its motif, so the motif names the piece: each section draws the same palette from it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from segue_music.elements import LayerKind
from segue_renderer.sketch.tables.instruments import VOICES
from segue_renderer.sketch.tables.voices import StruckVoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.tables.styles import Style
    from segue_renderer.sketch.tables.voices import HeldVoice, Voice

ROOM: Final = (0.75, 1.3)
DAMPING: Final = 0.08
SEND: Final = (0.8, 1.35)
WIDTHS: Final[Mapping[LayerKind, tuple[float, float]]] = {
    LayerKind.HARMONY: (0.95, 1.4), LayerKind.TEXTURES: (0.95, 1.4), LayerKind.LEAD: (0.8, 1.3),
    LayerKind.VOCALS: (0.95, 1.3),
}  # fmt: skip
"""Range of the width of each layer; bass and drums keep theirs."""
ALTERNATIVES: Final[Mapping[str, tuple[str, ...]]] = {
    "lead": ("lead", "lead", "square lead"),
}
"""Voices among which a piece chooses where the instrument's name leaves it open."""
HALF, KNOCK, DULLING, CHORUS_CENTS = (0.8, 1.25), (0.5, 1.6), (0.85, 1.15), 3.0
DETUNING, VIBRATO, ATTACK, DARKNESS = (0.6, 1.4), (0.75, 1.25), (0.75, 1.4), 0.05
RING: Final = (0.85, 1.2)
"""Range of the ringing time of drums: loose or tight skins, and how far the cymbals are damped."""


class Palette:
    """What a piece has of its own."""

    def __init__(self, spec: SectionSpec, style: Style) -> None:
        notes = [(note.start_tick, note.ticks, note.degree) for note in spec.motif.notes] if spec.motif else []
        self._piece = crc32(f"{spec.genre} {notes}".encode())
        draws = self._draws("room", 3 + len(LayerKind))
        self.room_s = style.room_s * between(ROOM, draws[0])
        self.damping = min(0.8, max(0.1, style.damping + DAMPING * (2.0 * draws[1] - 1.0)))
        self.ring = round(between(RING, draws[2]), 2)
        self._sends = {kind: between(SEND, draws[3 + number]) for number, kind in enumerate(LayerKind)}

    def send(self, kind: LayerKind) -> float:
        """Return the factor of a layer's share of the reverb."""
        return self._sends[kind]

    def voice(self, kind: LayerKind, name: str) -> Voice:
        """Return the voice of a layer as this piece has it."""
        draws = self._draws(f"{kind.name} {name}", 8)
        names = ALTERNATIVES.get(name, (name,))
        voice = VOICES[names[int(draws[7] * len(names))]]
        return built(voice, WIDTHS.get(kind, (1.0, 1.0)), draws)

    def _draws(self, what: str, count: int) -> tuple[float, ...]:
        rng = np.random.default_rng((self._piece, crc32(what.encode())))
        return tuple(float(each) for each in rng.random(count))


def between(bounds: tuple[float, float], draw: float) -> float:
    """Return a value within bounds for a draw from 0 to 1."""
    return bounds[0] + (bounds[1] - bounds[0]) * draw


@lru_cache(maxsize=512)
def built(voice: Voice, width: tuple[float, float], draws: tuple[float, ...]) -> Voice:
    """Return a voice of another maker: its loudness and its spectrum at the attack stay nearly the same."""
    if isinstance(voice, StruckVoice):
        return replace(
            voice,
            half_s=voice.half_s * between(HALF, draws[0]),
            knock=voice.knock * between(KNOCK, draws[1]),
            soft_dulling=min(1.0, voice.soft_dulling * between(DULLING, draws[2])),
            chorus_cents=voice.chorus_cents + CHORUS_CENTS * draws[3] if voice.chorus_cents else 0.0,
            width=min(0.6, voice.width * between(width, draws[4])),
        )
    return _held(voice, width, draws)


def _held(voice: HeldVoice, width: tuple[float, float], draws: tuple[float, ...]) -> HeldVoice:
    detuning = between(DETUNING, draws[0])
    return replace(
        voice,
        offsets=tuple(each * detuning for each in voice.offsets),
        vibrato_cents=voice.vibrato_cents * between(VIBRATO, draws[1]),
        attack_s=voice.attack_s * between(ATTACK, draws[2]),
        dark=min(1.0, max(0.4, voice.dark + DARKNESS * (2.0 * draws[3] - 1.0))),
        breath=voice.breath * between(KNOCK, draws[5]),
        width=min(1.2, voice.width * between(width, draws[4])),
    )
