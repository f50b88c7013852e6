"""What is known of a recording while it arrives: the level at once, and a tempo and a key that settle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_analyzer.report import MeasuredTempo
from segue_analyzer.rhythm.network import hear_beats
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.tonality.key import find_key
from segue_audio.loudness import integrated

if TYPE_CHECKING:
    from segue_analyzer.report import MeasuredKey
    from segue_analyzer.rhythm.bands import BandStream
    from segue_analyzer.tonality.chroma import ChromaStream
    from segue_audio.loudness import LoudnessMeter

_TEMPO_S: Final = 30
_KEY_S: Final = 120
"""The cost of a partial report does not grow with the recording."""


@dataclass(frozen=True, slots=True)
class Sketched:
    """A partial report; None is what is not found yet."""

    frames: int
    integrated_lufs: float | None
    tempo: MeasuredTempo | None
    key: MeasuredKey | None


def sketched(frames: int, loudness: LoudnessMeter, bands: BandStream, chroma: ChromaStream) -> Sketched:
    """Return what is known after some frames."""
    pulse = find_pulse(hear_beats(bands.latest(_TEMPO_S)))
    tempo = None
    if pulse is not None:
        tempo = MeasuredTempo(pulse.beats_per_minute, pulse.confidence, pulse.other_beats_per_minute)
    return Sketched(frames, integrated(loudness.hop_powers()), tempo, find_key(chroma.latest(_KEY_S)))
