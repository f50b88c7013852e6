"""Resolves the facts of a piece: the request's field, else the prompt's words, else genre, seed or default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import Key, Metre, Mode
from segue_music.plan import Brief, Kind, Origin
from segue_music.theory import MINOR_MODES, MODE_NAMES, key_name
from segue_music.timing import NANOSECONDS
from segue_planner.averages import mean
from segue_planner.facts.piece_facts import PieceFacts, TempoRange
from segue_planner.genres.genre import first_genre, genres, unknown_genre
from segue_planner.genres.votes import STRONG, count_votes
from segue_planner.limits import DEFAULT_LOOP_BARS, DEFAULT_RATE, DEFAULT_SECONDS, FASTEST, SLOWEST
from segue_planner.names import bpm_name, metre_name
from segue_planner.prompt.clauses import quoted
from segue_planner.prompt.prompt_facts import Stated
from segue_planner.prompt.word_list.words import word_list
from segue_runtime import errors

if TYPE_CHECKING:
    import random

    from segue_planner.facts.decision_log import DecisionLog
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import PromptFacts

TONICS: Final = ("C", "D", "Eb", "E", "F", "G", "A", "Bb")
SHARED_BPM: Final = 4
"""The width of the narrowest range of an unstated tempo."""
AWAY: Final = 0.5
"""How far a piece without a wanted mood goes into the opposite direction of the denied ones, as a share."""
SUGGESTIONS: Final = ("folk", "house", "cinematic")
"""Genres that the warning about a default genre names."""


class FactResolver:
    """Resolves the facts of one piece and records their origins.

    A language model may suggest genre and moods; a suggestion counts only where the prompt says nothing.
    """

    def __init__(
        self,
        brief: Brief,
        prompt: PromptFacts,
        log: DecisionLog,
        chance: random.Random,
        *,
        suggested_genre: str = "",
        suggested_moods: tuple[str, ...] = (),
    ) -> None:
        self._brief, self._prompt, self._log, self._chance = brief, prompt, log, chance
        self._suggested_genre, self._suggested_moods = suggested_genre, suggested_moods

    def resolve(self) -> PieceFacts:
        """Resolve the facts in an order in which each may use the ones before it."""
        valence, arousal = self._mood()
        genre = self._genre()
        kind = self._kind()
        metre, metre_is_stated = self._metre()
        tempo = self._tempo(genre, metre, arousal)
        rate = self._brief.sample_rate or DEFAULT_RATE
        frames, bars = self._length(rate, kind)
        key = self._key(genre, valence)
        return PieceFacts(genre, metre, metre_is_stated, key, tempo, frames, bars, rate, kind, valence, arousal)

    def _mood(self) -> tuple[float, float]:
        table = word_list()["moods"]
        for name, words in self._prompt.moods.items():
            self._log.record("mood", name, Origin.PROMPT, words)
        for name, words in self._prompt.without_moods.items():
            self._log.record("mood", f"no {name}", Origin.NEGATIVE_PROMPT, words)
        names = list(self._prompt.moods)
        if not names:
            names = [name for name in self._suggested_moods if name not in self._prompt.without_moods]
            for name in names:
                self._log.record("mood", name, Origin.LANGUAGE_MODEL)
        if not names and self._prompt.without_moods:
            denied = [table[name] for name in self._prompt.without_moods]
            return (
                -AWAY * mean([mood["valence"] for mood in denied]),
                -AWAY * mean([mood["arousal"] for mood in denied]),
            )
        known = [table[name] for name in names]
        if not known:
            return 0.0, 0.0
        return mean([mood["valence"] for mood in known]), mean([mood["arousal"] for mood in known])

    def _genre(self) -> Genre:
        stated, without = self._prompt.genre, self._prompt.without_genres
        known = genres()
        for name, words in without.items():
            self._log.record("genre", f"no {name}", Origin.NEGATIVE_PROMPT, words)
        if self._brief.genre:
            if self._brief.genre not in known:
                wrong = unknown_genre("brief.genre", self._brief.genre)
                raise errors.InvalidField(f"{wrong.field}: {wrong.description}", violations=[wrong])
            if stated and stated.value != self._brief.genre:
                self._log.warn_contradiction("genre", self._brief.genre, f"{stated.words} ({stated.value})")
            if self._brief.genre in without:
                self._log.warn_contradiction("genre", self._brief.genre, f"no {without[self._brief.genre]}")
            self._log.record("genre", self._brief.genre, Origin.CALLER)
            return known[self._brief.genre]
        if stated:
            self._log.record("genre", stated.value, Origin.PROMPT, stated.words)
            self._warn_borrowed(stated.value)
            return known[stated.value]
        return self._indicated_genre()

    def _indicated_genre(self) -> Genre:
        """Return the genre that the prompt indicates, a language model suggests, or the default."""
        known, without = genres(), self._prompt.without_genres
        voted = count_votes(self._prompt.votes, without)
        suggested = self._suggested_genre not in without and self._suggested_genre
        if suggested and (voted is None or voted.weight < STRONG):
            self._log.record("genre", suggested, Origin.LANGUAGE_MODEL)
            return known[suggested]
        if voted is not None:
            self._log.record("genre", voted.genre, Origin.PROMPT, voted.words)
            self._warn_borrowed(voted.genre)
            return known[voted.genre]
        found = first_genre(without)
        self._log.record("genre", found.name, Origin.DEFAULT)
        others = " or ".join(repr(name) for name in SUGGESTIONS if name not in without)
        self._log.warn(
            "genre_default",
            f"nothing in the prompt indicates a genre; it is planned as {found.name}. Name one: {others}",
        )
        return found

    def _warn_borrowed(self, genre: str) -> None:
        borrowing = [vote.words for vote in self._prompt.votes if vote.kind == "borrowed"]
        if borrowing:
            self._log.warn("genre_borrowed", f"{quoted(borrowing)} has no style of its own; it is played as {genre}")

    def _kind(self) -> Kind:
        loop_words = self._prompt.course.get("loop")
        if self._brief.kind:
            if loop_words and self._brief.kind != Kind.LOOP:
                self._log.warn_contradiction("kind", "PIECE", loop_words)
            if self._brief.kind == Kind.LOOP and "loop" in self._prompt.without_course:
                self._log.warn_contradiction("kind", "LOOP", f"no {self._prompt.without_course['loop']}")
            self._log.record("kind", self._brief.kind.name.lower(), Origin.CALLER)
            return self._brief.kind
        if loop_words:
            self._log.record("kind", "loop", Origin.PROMPT, loop_words)
            return Kind.LOOP
        self._log.record("kind", "piece", Origin.DEFAULT)
        return Kind.PIECE

    def _metre(self) -> tuple[Metre, bool]:
        stated = self._prompt.metre
        if self._brief.metre is not None:
            if stated and stated.value != self._brief.metre:
                self._log.warn_contradiction("metre", metre_name(self._brief.metre), stated.words)
            self._log.record("metre", metre_name(self._brief.metre), Origin.CALLER)
            return self._brief.metre, True
        if stated:
            self._log.record("metre", metre_name(stated.value), Origin.PROMPT, stated.words)
            return stated.value, True
        self._log.record("metre", "4/4", Origin.DEFAULT)
        return Metre(4, 4), False

    def _tempo(self, genre: Genre, metre: Metre, arousal: float) -> TempoRange:
        if self._brief.quarters_per_minute is not None:
            return self._requested_tempo(self._brief.quarters_per_minute, metre)
        if self._prompt.bpm:
            quarters = timing.quarters_from_bpm(self._prompt.bpm.value, metre)
            self._log.record("tempo", bpm_name(quarters, metre), Origin.PROMPT, self._prompt.bpm.words)
            return TempoRange(quarters, quarters, quarters, is_stated=True)
        low, high, origin, words = self._bpm_range(genre, arousal)
        preferred = low + (high - low) * self._chance.random()
        self._log.record("tempo", f"about {preferred:.0f} bpm", origin, words)
        slowest, fastest = (min(FASTEST, max(SLOWEST, timing.quarters_from_bpm(bound, metre))) for bound in (low, high))
        return TempoRange(timing.quarters_from_bpm(preferred, metre), slowest, fastest, is_stated=False)

    def _requested_tempo(self, quarters: float, metre: Metre) -> TempoRange:
        bpm, bpm_range = self._prompt.bpm, self._prompt.bpm_range
        if bpm and abs(timing.quarters_from_bpm(bpm.value, metre) - quarters) > 0.01:
            self._log.warn_contradiction("tempo", bpm_name(quarters, metre), bpm.words)
        elif bpm_range and not _is_within(timing.bpm_from_quarters(quarters, metre), bpm_range.value):
            self._log.warn_contradiction("tempo", bpm_name(quarters, metre), bpm_range.words)
        self._log.record("tempo", bpm_name(quarters, metre), Origin.CALLER)
        return TempoRange(quarters, quarters, quarters, is_stated=True)

    def _bpm_range(self, genre: Genre, arousal: float) -> tuple[float, float, Origin, str]:
        """Return the range of an unstated tempo in felt beats a minute, its origin, and the words for it."""
        if self._prompt.bpm_range:
            low, high = self._prompt.bpm_range.value
            return low, high, Origin.PROMPT, self._prompt.bpm_range.words
        if self._prompt.tempo_word:
            low, high = word_list()["tempo"][self._prompt.tempo_word.value]["range"]
            # "Slow" means slow for the genre, where the two ranges overlap enough.
            shared = max(low, genre.tempo_bpm[0]), min(high, genre.tempo_bpm[1])
            low, high = shared if shared[1] - shared[0] >= SHARED_BPM else (low, high)
            return low, high, Origin.PROMPT, self._prompt.tempo_word.words
        (low, high), origin, words = self._genre_range(genre)
        # Calm moods take the slower half, wild moods the faster half.
        middle, span = (low + high) / 2 + arousal * (high - low) * 0.35, (high - low) * 0.25
        return max(low, middle - span), min(high, middle + span), origin, words

    def _genre_range(self, genre: Genre) -> tuple[tuple[float, float], Origin, str]:
        """Return the genre's range without the tempos that the negative prompt excludes, its origin and the words."""
        low, high = (float(bound) for bound in genre.tempo_bpm)
        origin, said = Origin.GENRE, ""
        for name, words in self._prompt.without_tempos.items():
            slowest, fastest = word_list()["tempo"][name]["range"]
            if slowest + fastest >= low + high:
                high = min(high, slowest)
                low = min(low, high - SHARED_BPM)
            else:
                low = max(low, fastest)
                high = max(high, low + SHARED_BPM)
            origin, said = Origin.NEGATIVE_PROMPT, words
        return (low, high), origin, said

    def _length(self, rate: int, kind: Kind) -> tuple[int | None, int | None]:
        """Return the length in frames, or None where it follows from the number of bars, and that number."""
        prompt = self._prompt
        stated_bars = prompt.bars or self._sum_of_bars()
        if self._brief.duration_ns is not None:
            return self._requested_length(self._brief.duration_ns, rate), None
        if prompt.seconds:
            self._log.record("duration", f"{prompt.seconds.value:g} s", Origin.PROMPT, prompt.seconds.words)
            return _frames(prompt.seconds.value, rate), stated_bars.value if stated_bars else None
        if stated_bars:
            self._log.record("duration", f"{stated_bars.value} bars", Origin.PROMPT, stated_bars.words)
            return None, stated_bars.value
        if prompt.clip:
            seconds = word_list()["clips"][prompt.clip.value]["seconds"]
            self._log.record("duration", f"{seconds:g} s", Origin.PROMPT, prompt.clip.words)
            return _frames(seconds, rate), None
        if kind == Kind.LOOP:
            self._log.record("duration", f"{DEFAULT_LOOP_BARS} bars", Origin.DEFAULT)
            return None, DEFAULT_LOOP_BARS
        self._log.record("duration", f"{DEFAULT_SECONDS} s", Origin.DEFAULT)
        return DEFAULT_SECONDS * rate, None

    def _requested_length(self, duration_ns: int, rate: int) -> int:
        stated = self._prompt.seconds
        if stated and abs(stated.value * NANOSECONDS - duration_ns) > NANOSECONDS / 2:
            field = f"{duration_ns / NANOSECONDS:g} s"
            self._log.warn_contradiction("duration", field, f"{stated.words} ({stated.value:g} s)")
        self._log.record("duration", f"{duration_ns / NANOSECONDS:g} s", Origin.CALLER)
        return (duration_ns * rate + NANOSECONDS // 2) // NANOSECONDS

    def _sum_of_bars(self) -> Stated[int] | None:
        """Return the sum of the sections' bars, when the prompt lists all sections and states the bars of each."""
        form, each = self._prompt.form, self._prompt.role_bars
        if form is not None and self._prompt.form_bars and not self._brief.form:
            return Stated(sum(self._prompt.form_bars), form.words)
        if form is None or self._brief.form or not all(role in each for role in form.value):
            return None
        return Stated(sum(each[role].value for role in form.value), form.words)

    def _key(self, genre: Genre, valence: float) -> Key:
        stated, stated_mode = self._prompt.key, self._prompt.mode
        if self._brief.key is not None:
            if stated and stated.value != self._brief.key:
                self._log.warn_contradiction(
                    "key", key_name(self._brief.key), f"{stated.words} ({key_name(stated.value)})"
                )
            elif stated_mode and stated_mode.value != self._brief.key.mode:
                self._log.warn_contradiction("key", key_name(self._brief.key), stated_mode.words)
            self._log.record("key", key_name(self._brief.key), Origin.CALLER)
            return self._brief.key
        if stated:
            self._log.record("key", key_name(stated.value), Origin.PROMPT, stated.words)
            return stated.value
        tonic = self._chance.choice(TONICS)
        if stated_mode:
            mode = stated_mode.value
            self._log.record("mode", MODE_NAMES[mode], Origin.PROMPT, stated_mode.words)
        else:
            fitting = [mode for mode in genre.modes if _suits(mode, valence)]
            if not fitting and abs(valence) > 0.4:
                fitting = [Mode.MINOR if valence < 0 else Mode.MAJOR]
            mode = self._chance.choice(fitting or list(genre.modes))
        found = Key(tonic, mode)
        self._log.record("key", key_name(found), Origin.SEED)
        return found


def _suits(mode: Mode, valence: float) -> bool:
    return (mode in MINOR_MODES) == (valence < 0) or abs(valence) <= 0.2


def _is_within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _frames(seconds: float, rate: int) -> int:
    return (round(seconds * NANOSECONDS) * rate + NANOSECONDS // 2) // NANOSECONDS
