"""Decides what holds for the whole piece: the caller's field, else the prompt's words, else genre, seed or default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import Key, Metre, Mode
from segue_music.plan import Brief, Kind, Origin
from segue_music.theory import MINOR_MODES, MODE_NAMES, key_name
from segue_music.timing import NANOSECONDS
from segue_planner.genres.genre import default_genre, genres, unknown_genre
from segue_planner.limits import DEFAULT_RATE, FASTEST, SLOWEST
from segue_planner.parts.energy import mean
from segue_planner.prompt.prompt_facts import Said
from segue_planner.prompt.word_list.phrases import words
from segue_runtime import errors

if TYPE_CHECKING:
    import random

    from segue_planner.facts.decision_log import Ledger
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import PromptReading

DEFAULT_SECONDS: Final = 60
DEFAULT_LOOP_BARS: Final = 8
TONICS: Final = ("C", "D", "Eb", "E", "F", "G", "A", "Bb")
# Instruments that, alone, are heard as chamber music.
CHAMBER: Final = frozenset(
    {"piano", "violin", "viola", "cello", "string quartet", "strings", "harp", "organ", "flute", "oboe", "clarinet"}
)


@dataclass(frozen=True)
class Tempo:
    """A tempo in quarters a minute: a wish within a range, or stated, when the range is that one value."""

    wish: float
    slowest: float
    fastest: float
    is_stated: bool


@dataclass(frozen=True)
class Facts:
    """What was decided before the form."""

    genre: Genre
    metre: Metre
    metre_is_stated: bool
    key: Key
    tempo: Tempo
    frames: int | None
    """The length when it is said, or the default; None: it follows from `bars`."""
    bars: int | None
    sample_rate: int
    kind: Kind
    valence: float
    arousal: float


@dataclass(frozen=True)
class Guess:
    """What a language model makes of a prompt that names neither genre nor mood."""

    genre: str = ""
    moods: tuple[str, ...] = ()


class Decider:
    """Decides one piece's facts and writes their origins down."""

    def __init__(
        self, brief: Brief, read: PromptReading, ledger: Ledger, chance: random.Random, guess: Guess | None = None
    ) -> None:
        self._brief, self._read, self._ledger, self._chance = brief, read, ledger, chance
        self._guess = guess or Guess()

    def decide(self) -> Facts:
        """Decide in an order in which each fact may use those before it."""
        valence, arousal = self._mood()
        genre = self._genre()
        kind = self._kind()
        metre, metre_is_stated = self._metre()
        tempo = self._tempo(genre, metre, arousal)
        rate = self._brief.sample_rate or DEFAULT_RATE
        frames, bars = self._length(rate, kind)
        key = self._key(genre, valence)
        return Facts(genre, metre, metre_is_stated, key, tempo, frames, bars, rate, kind, valence, arousal)

    def _mood(self) -> tuple[float, float]:
        table = words()["moods"]
        for name, said in self._read.moods.items():
            self._ledger.note("mood", name, Origin.PROMPT, said)
        names = list(self._read.moods)
        if not names:
            names = list(self._guess.moods)
            for name in names:
                self._ledger.note("mood", name, Origin.LANGUAGE_MODEL)
        known = [table[name] for name in names]
        if not known:
            return 0.0, 0.0
        return mean([mood["valence"] for mood in known]), mean([mood["arousal"] for mood in known])

    def _genre(self) -> Genre:
        said = self._read.genre
        known = genres()
        if self._brief.genre:
            if self._brief.genre not in known:
                wrong = unknown_genre("brief.genre", self._brief.genre)
                raise errors.InvalidField(f"{wrong.field}: {wrong.description}", violations=[wrong])
            if said and said.value != self._brief.genre:
                self._ledger.contradiction("genre", self._brief.genre, f"{said.words} ({said.value})")
            self._ledger.note("genre", self._brief.genre, Origin.CALLER)
            return known[self._brief.genre]
        if said:
            self._ledger.note("genre", said.value, Origin.PROMPT, said.words)
            return known[said.value]
        if self._guess.genre:
            self._ledger.note("genre", self._guess.genre, Origin.LANGUAGE_MODEL)
            return known[self._guess.genre]
        chamber = bool(self._read.only) and set(self._read.instruments) <= CHAMBER
        found = known["classical"] if chamber else default_genre()
        self._ledger.note("genre", found.name, Origin.DEFAULT)
        return found

    def _kind(self) -> Kind:
        said = self._read.course.get("loop")
        if self._brief.kind:
            if said and self._brief.kind != Kind.LOOP:
                self._ledger.contradiction("kind", "PIECE", said)
            self._ledger.note("kind", self._brief.kind.name.lower(), Origin.CALLER)
            return self._brief.kind
        if said:
            self._ledger.note("kind", "loop", Origin.PROMPT, said)
            return Kind.LOOP
        self._ledger.note("kind", "piece", Origin.DEFAULT)
        return Kind.PIECE

    def _metre(self) -> tuple[Metre, bool]:
        said = self._read.metre
        if self._brief.metre is not None:
            if said and said.value != self._brief.metre:
                self._ledger.contradiction("metre", metre_name(self._brief.metre), said.words)
            self._ledger.note("metre", metre_name(self._brief.metre), Origin.CALLER)
            return self._brief.metre, True
        if said:
            self._ledger.note("metre", metre_name(said.value), Origin.PROMPT, said.words)
            return said.value, True
        self._ledger.note("metre", "4/4", Origin.DEFAULT)
        return Metre(4, 4), False

    def _tempo(self, genre: Genre, metre: Metre, arousal: float) -> Tempo:
        read, given = self._read, self._brief.quarters_per_minute
        if given is not None:
            if read.bpm and abs(timing.quarters_from_bpm(read.bpm.value, metre) - given) > 0.01:
                self._ledger.contradiction("tempo", bpm_name(given, metre), read.bpm.words)
            elif read.bpm_range and not _within(timing.bpm_from_quarters(given, metre), read.bpm_range.value):
                self._ledger.contradiction("tempo", bpm_name(given, metre), read.bpm_range.words)
            self._ledger.note("tempo", bpm_name(given, metre), Origin.CALLER)
            return Tempo(given, given, given, is_stated=True)
        if read.bpm:
            quarters = timing.quarters_from_bpm(read.bpm.value, metre)
            self._ledger.note("tempo", bpm_name(quarters, metre), Origin.PROMPT, read.bpm.words)
            return Tempo(quarters, quarters, quarters, is_stated=True)
        if read.bpm_range:
            low, high = read.bpm_range.value
            origin, said = Origin.PROMPT, read.bpm_range.words
        elif read.tempo_word:
            low, high = words()["tempo"][read.tempo_word.value]["range"]
            # A slow piece of a genre is slow for that genre where the two ranges meet.
            shared = max(low, genre.tempo_bpm[0]), min(high, genre.tempo_bpm[1])
            low, high = shared if shared[1] - shared[0] >= 4 else (low, high)
            origin, said = Origin.PROMPT, read.tempo_word.words
        else:
            low, high = genre.tempo_bpm
            # A calm mood takes the slower half, a wild one the faster.
            middle, span = (low + high) / 2 + arousal * (high - low) * 0.35, (high - low) * 0.25
            low, high = max(low, middle - span), min(high, middle + span)
            origin, said = Origin.GENRE, ""
        wish = low + (high - low) * self._chance.random()
        self._ledger.note("tempo", f"about {wish:.0f} bpm", origin, said)
        slowest, fastest = (min(FASTEST, max(SLOWEST, timing.quarters_from_bpm(bound, metre))) for bound in (low, high))
        return Tempo(timing.quarters_from_bpm(wish, metre), slowest, fastest, is_stated=False)

    def _length(self, rate: int, kind: Kind) -> tuple[int | None, int | None]:
        read = self._read
        said_bars = read.bars or self._sum_of_bars()
        if self._brief.duration_ns is not None:
            if read.seconds and abs(read.seconds.value * NANOSECONDS - self._brief.duration_ns) > NANOSECONDS / 2:
                field = f"{self._brief.duration_ns / NANOSECONDS:g} s"
                self._ledger.contradiction("duration", field, f"{read.seconds.words} ({read.seconds.value:g} s)")
            self._ledger.note("duration", f"{self._brief.duration_ns / NANOSECONDS:g} s", Origin.CALLER)
            return (self._brief.duration_ns * rate + NANOSECONDS // 2) // NANOSECONDS, None
        if read.seconds:
            self._ledger.note("duration", f"{read.seconds.value:g} s", Origin.PROMPT, read.seconds.words)
            return _frames(read.seconds.value, rate), said_bars.value if said_bars else None
        if said_bars:
            self._ledger.note("duration", f"{said_bars.value} bars", Origin.PROMPT, said_bars.words)
            return None, said_bars.value
        if read.clip:
            seconds = words()["clips"][read.clip.value]["seconds"]
            self._ledger.note("duration", f"{seconds:g} s", Origin.PROMPT, read.clip.words)
            return _frames(seconds, rate), None
        if kind == Kind.LOOP:
            self._ledger.note("duration", f"{DEFAULT_LOOP_BARS} bars", Origin.DEFAULT)
            return None, DEFAULT_LOOP_BARS
        self._ledger.note("duration", f"{DEFAULT_SECONDS} s", Origin.DEFAULT)
        return DEFAULT_SECONDS * rate, None

    def _sum_of_bars(self) -> Said[int] | None:
        form, each = self._read.form, self._read.role_bars
        if form is None or self._brief.form or not all(role in each for role in form.value):
            return None
        return Said(sum(each[role].value for role in form.value), form.words)

    def _key(self, genre: Genre, valence: float) -> Key:
        said = self._read.key
        if self._brief.key is not None:
            if said and said.value != self._brief.key:
                self._ledger.contradiction("key", key_name(self._brief.key), f"{said.words} ({key_name(said.value)})")
            elif self._read.mode and self._read.mode.value != self._brief.key.mode:
                self._ledger.contradiction("key", key_name(self._brief.key), self._read.mode.words)
            self._ledger.note("key", key_name(self._brief.key), Origin.CALLER)
            return self._brief.key
        if said:
            self._ledger.note("key", key_name(said.value), Origin.PROMPT, said.words)
            return said.value
        tonic = self._chance.choice(TONICS)
        if self._read.mode:
            mode = self._read.mode.value
            self._ledger.note("mode", MODE_NAMES[mode], Origin.PROMPT, self._read.mode.words)
        else:
            fitting = [mode for mode in genre.modes if _suits(mode, valence)]
            if not fitting and abs(valence) > 0.4:
                fitting = [Mode.MINOR if valence < 0 else Mode.MAJOR]
            mode = self._chance.choice(fitting or list(genre.modes))
        found = Key(tonic, mode)
        self._ledger.note("key", key_name(found), Origin.SEED)
        return found


def _suits(mode: Mode, valence: float) -> bool:
    return (mode in MINOR_MODES) == (valence < 0) or abs(valence) <= 0.2


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _frames(seconds: float, rate: int) -> int:
    return (round(seconds * NANOSECONDS) * rate + NANOSECONDS // 2) // NANOSECONDS


def metre_name(metre: Metre) -> str:
    """Return a metre's name, as "6/8"."""
    return f"{metre.beats}/{metre.unit}"


def bpm_name(quarters: float, metre: Metre) -> str:
    """Return a tempo's name, as "84 bpm"."""
    return f"{timing.bpm_from_quarters(quarters, metre):.6g} bpm"
