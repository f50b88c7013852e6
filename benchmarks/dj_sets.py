"""DJ sets of the band's pieces with known boundaries: hard cuts, crossfades, beat-matched crossfades and silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.music_measures import GENRES, make
from segue_audio.loudness import LoudnessMeter

if TYPE_CHECKING:
    from segue_audio.arrays import Float32
    from segue_music.elements import Key

RATE: Final = 24_000
CUT, CROSSFADE, MATCHED, SILENCE = "cut", "crossfade", "matched", "silence"
TRANSITIONS: Final = (CUT, CROSSFADE, MATCHED, SILENCE)
SHARES: Final = (0.3, 0.3, 0.3, 0.1)
LUFS: Final = -14.0
SILENCE_S: Final = (0.5, 4.0)
FADE_S: Final = (4.0, 16.0)


@dataclass(frozen=True)
class SetPiece:
    """One piece of a set, in seconds of the set; `transition` leads to it from the piece before."""

    genre: str
    quarters_per_minute: float
    key: Key
    first_s: float
    end_s: float
    transition: str = ""
    fade_s: float = 0.0

    @property
    def boundary_s(self) -> float:
        """The middle of the transition before this piece, or the end of the silence."""
        return self.first_s + self.fade_s / 2


@dataclass
class DjSet:
    """The sound of a set, (frames, 2), and its pieces in order."""

    sound: Float32
    pieces: list[SetPiece]


def make_set(seed: int, transitions: list[str], seconds: tuple[float, float]) -> DjSet:
    """Make a set of pieces of different genres, one more than transitions; the seed decides everything else."""
    rng = np.random.default_rng(seed)
    genres = rng.permutation(GENRES)
    sound, pieces = np.zeros((0, 2), np.float32), list[SetPiece]()
    for number, transition in enumerate(["", *transitions]):
        tempo = pieces[-1].quarters_per_minute if transition == MATCHED else None
        piece = make(
            str(genres[number % len(genres)]),
            1_000 * seed + number,
            float(rng.uniform(*seconds)),
            sample_rate=RATE,
            quarters_per_minute=tempo,
        )
        first = len(sound)
        if transition == SILENCE:
            first += round(float(rng.uniform(*SILENCE_S)) * RATE)
        elif transition in {CROSSFADE, MATCHED}:
            first -= round(float(rng.uniform(*FADE_S)) * RATE)
        if tempo is not None:
            # The beats of both pieces fall together.
            beat, before = 60 * RATE / tempo, pieces[-1].first_s * RATE
            first = round(before + round((first - before) / beat) * beat)
        fade_s = max(0, len(sound) - first) / RATE
        sound = crossfaded(sound, levelled(piece.mix), first)
        plan, end_s = piece.plan, len(sound) / RATE
        pieces.append(SetPiece(plan.genre, plan.quarters_per_minute, plan.key, first / RATE, end_s, transition, fade_s))
    return DjSet(sound, pieces)


def drawn_transitions(seed: int, pieces: int) -> list[str]:
    """Return transitions between pieces with their usual shares."""
    rng = np.random.default_rng(seed)
    return [str(each) for each in rng.choice(TRANSITIONS, size=pieces - 1, p=SHARES)]


def levelled(mix: Float32) -> Float32:
    """Return a piece at the loudness of the set, without clipping."""
    meter = LoudnessMeter(RATE, 2, with_peaks=False)
    meter.push(mix)
    lufs = meter.result().integrated_lufs
    gain = 10 ** ((LUFS - (LUFS if lufs is None else lufs)) / 20)
    limited: Float32 = mix * np.float32(min(gain, 0.98 / max(1e-6, float(np.abs(mix).max()))))
    return limited


def crossfaded(before: Float32, after: Float32, first: int) -> Float32:
    """Return both sounds, the second one from a frame on; where they overlap, they fade with equal power."""
    sound = np.zeros((first + len(after), 2), np.float32)
    sound[: len(before)] = before
    overlap = max(0, len(before) - first)
    phase = np.linspace(0, np.pi / 2, overlap, dtype=np.float32)[:, None]
    sound[first : first + overlap] *= np.cos(phase)
    sound[first : first + overlap] += after[:overlap] * np.sin(phase)
    sound[first + overlap :] += after[overlap:]
    return sound
