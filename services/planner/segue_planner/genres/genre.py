"""Genre profiles, read from genres.toml."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from segue_music.elements import Feel, LayerKind, Mode
from segue_music.plan import Cadence
from segue_music.theory import MINOR_MODES
from segue_planner.tables import load_table
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

PATH = "genres/genres.toml"
FAST_ROCK_BPM = 140


@dataclass(frozen=True)
class Genre:
    """The defaults of a genre."""

    name: str
    words: tuple[str, ...]
    """Phrases that name the genre in a prompt."""
    hints: tuple[str, ...]
    """Phrases that name the genre only when the prompt has no stronger one."""
    tempo_bpm: tuple[int, int]
    swing: float
    groove: str
    feel: Feel
    form: str
    phrase_bars: int
    chord_bars: int
    closes: Cadence
    modes: tuple[Mode, ...]
    minor: tuple[tuple[str, ...], ...]
    major: tuple[tuple[str, ...], ...]
    layers: Mapping[LayerKind, tuple[str, ...]]
    moods: tuple[str, ...]

    @property
    def is_electronic(self) -> bool:
        """Whether the genre is dance music: beats begin and end a piece, and risers lead to drops."""
        return self.form == "drop"

    @property
    def is_heavy(self) -> bool:
        """Whether the quiet sections are slow and heavy, not soft."""
        return self.groove == "rock" and self.tempo_bpm[1] >= FAST_ROCK_BPM

    def progressions(self, mode: Mode) -> tuple[tuple[str, ...], ...]:
        """Return the chord progressions for a mode, as roman numerals."""
        return self.minor if mode in MINOR_MODES else self.major


@cache
def genres() -> Mapping[str, Genre]:
    """Return all genres by name; the first is the default."""
    return {
        name: Genre(
            name=name,
            words=tuple(content["words"]),
            hints=tuple(content.get("hints", ())),
            tempo_bpm=(content["tempo"][0], content["tempo"][1]),
            swing=content.get("swing", 0.5),
            groove=content["groove"],
            feel=Feel[content.get("feel", "UNSPECIFIED")],
            form=content["form"],
            phrase_bars=content.get("phrase", 4),
            chord_bars=content.get("chord_bars", 1),
            closes=Cadence[content.get("closes", "AUTHENTIC")],
            modes=tuple(Mode[mode] for mode in content["modes"]),
            minor=tuple(tuple(chords) for chords in content["minor"]),
            major=tuple(tuple(chords) for chords in content["major"]),
            layers={LayerKind[kind]: tuple(names) for kind, names in content["layers"].items()},
            moods=tuple(content["moods"]),
        )
        for name, content in load_table(PATH).items()
    }


def default_genre() -> Genre:
    """Return the genre of a prompt that names none."""
    return next(iter(genres().values()))


def first_genre(without: Container[str]) -> Genre:
    """Return the default genre, or the first one that is not excluded."""
    return next((genre for name, genre in genres().items() if name not in without), default_genre())


def unknown_genre(path: str, name: str) -> FieldViolation:
    """Return the violation for an unknown genre; it suggests the nearest known one."""
    close = difflib.get_close_matches(name, list(genres()), n=1, cutoff=0.5)
    nearest = close[0] if close else default_genre().name
    return FieldViolation(path, f"unknown genre {name!r}; the genres are: {', '.join(genres())}", nearest)
