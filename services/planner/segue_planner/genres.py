"""Genre profiles, read from genres.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from segue_music.plan import LayerKind, Mode
from segue_music.theory import MINOR_MODES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Genre:
    """What a genre brings when nobody says otherwise."""

    name: str
    words: tuple[str, ...]
    tempo_bpm: tuple[int, int]
    swing: float
    groove: str
    modes: tuple[Mode, ...]
    minor: tuple[tuple[str, ...], ...]
    major: tuple[tuple[str, ...], ...]
    layers: Mapping[LayerKind, tuple[str, ...]]
    moods: tuple[str, ...]

    def progressions(self, mode: Mode) -> tuple[tuple[str, ...], ...]:
        """Return the chord progressions for a mode, as roman numerals."""
        return self.minor if mode in MINOR_MODES else self.major


@cache
def genres() -> Mapping[str, Genre]:
    """Return all genres by name; the first is the default."""
    text = resources.files("segue_planner").joinpath("genres.toml").read_text(encoding="utf-8")
    return {
        name: Genre(
            name=name,
            words=tuple(content["words"]),
            tempo_bpm=(content["tempo"][0], content["tempo"][1]),
            swing=content["swing"],
            groove=content["groove"],
            modes=tuple(Mode[mode] for mode in content["modes"]),
            minor=tuple(tuple(chords) for chords in content["minor"]),
            major=tuple(tuple(chords) for chords in content["major"]),
            layers={LayerKind[kind]: tuple(names) for kind, names in content["layers"].items()},
            moods=tuple(content["moods"]),
        )
        for name, content in tomllib.loads(text).items()
    }


def default_genre() -> Genre:
    """Return what is played when the prompt names no genre."""
    return next(iter(genres().values()))
