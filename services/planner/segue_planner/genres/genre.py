"""Genre profiles and forms, read from genres.toml and forms.toml."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from segue_music.elements import Feel, LayerKind, Mode
from segue_music.plan import Cadence, Role
from segue_music.theory import MINOR_MODES
from segue_planner.prompt.word_list.phrases import table
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Genre:
    """What a genre brings when nobody says otherwise."""

    name: str
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

    def progressions(self, mode: Mode) -> tuple[tuple[str, ...], ...]:
        """Return the chord progressions for a mode, as roman numerals."""
        return self.minor if mode in MINOR_MODES else self.major


@dataclass(frozen=True)
class Form:
    """How pieces of a kind are laid out."""

    lists: tuple[tuple[Role, ...], ...]
    long: tuple[Role, ...]


@cache
def genres() -> Mapping[str, Genre]:
    """Return all genres by name; the first is the default."""
    return {
        name: Genre(
            name=name,
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
        for name, content in table("genres/genres.toml").items()
    }


def default_genre() -> Genre:
    """Return what is played when the prompt names no genre."""
    return next(iter(genres().values()))


@cache
def forms() -> Mapping[str, Form]:
    """Return all forms by name."""
    return {
        name: Form(tuple(_roles(names) for names in content["lists"]), _roles(content["long"]))
        for name, content in table("genres/forms.toml").items()
        if name != "bars"
    }


@cache
def usual_bars() -> Mapping[Role, int]:
    """Return how many bars a role usually has."""
    return {Role[name.upper()]: bars for name, bars in table("genres/forms.toml")["bars"].items()}


def _roles(names: list[str]) -> tuple[Role, ...]:
    return tuple(Role[name.upper()] for name in names)


def unknown_genre(path: str, name: str) -> FieldViolation:
    """Return the violation of a genre that is in no table, with the one that was probably meant."""
    close = difflib.get_close_matches(name, list(genres()), n=1, cutoff=0.5)
    meant = close[0] if close else default_genre().name
    return FieldViolation(path, f"{name!r} is not known; there are: {', '.join(genres())}", meant)
