"""The word list: every phrase of words.toml, instruments.toml and genres.toml with its meaning."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from segue_planner.genres.genre import genres
from segue_planner.genres.votes import vote_phrases
from segue_planner.prompt.word_list.instruments import instrument_phrases
from segue_planner.prompt.word_list.phrases import PhraseMeaning, PhraseTree, tokenise
from segue_planner.tables import load_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# The tables of words.toml and the category of their phrases: tables of phrase lists, and tables whose entries have one.
LISTS: Final = {
    "roles": "role", "metres": "metre", "negation": "negation", "course": "course", "silenced": "silenced",
    "ignored": "ignored", "opening": "opening",
    "ensemble_of": "ensemble_of",
}  # fmt: skip
ENTRIES: Final = {"tempo": "tempo", "moods": "mood", "clips": "clip"}


@cache
def word_list() -> Mapping[str, Any]:
    """Return the content of words.toml."""
    return load_table("prompt/word_list/words.toml")


@cache
def time_units() -> Mapping[str, str]:
    """Return the unit of each word for a unit of length, for example "minutes" for "min"."""
    return {word: unit for unit, names in word_list()["units"].items() for word in names}


@cache
def phrase_tree() -> PhraseTree:
    """Return the phrases of all tables. Where two tables share a phrase, the first meaning in a category counts."""
    return _tree(_phrases())


@cache
def section_phrase_tree() -> PhraseTree:
    """Return the phrases of all tables and those that only a section's prompt may have."""
    return _tree(chain(_phrases(), _section_phrases()))


def _section_phrases() -> Iterator[tuple[str, PhraseMeaning]]:
    for name, entry in word_list()["energy"].items():
        yield from _each(entry["words"], "energy", name)
    section = word_list()["section"]
    # Without this phrase, it would be a "bass drop".
    yield from _each(section["leaving_bass"], "instrument", "bass")
    for name, category in (
        ("leaving", "leaving"), ("leaving_bass", "leaving"), ("no", "negation.no"), ("just", "negation.just"),
    ):  # fmt: skip
        yield from _each(section[name], category, name)


def _tree(meanings: Iterable[tuple[str, PhraseMeaning]]) -> PhraseTree:
    tree = PhraseTree()
    for phrase, meaning in meanings:
        tree.add(phrase, meaning)
    # Plurals come last, so that a listed phrase always wins over one that is only derived.
    for name, phrases in instrument_phrases():
        for phrase in phrases:
            tree.add(f"{phrase}s", PhraseMeaning("instrument", name))
    return tree


def _phrases() -> Iterator[tuple[str, PhraseMeaning]]:
    for name, phrases in instrument_phrases():
        yield from _each(phrases, "instrument", name)
    for genre in genres().values():
        yield from _each(genre.words, "genre", genre.name)
        yield from _each(genre.hints, "genre_hint", genre.name)
    for kind, voted, phrases in vote_phrases():
        yield from _each(phrases, f"vote.{kind}", voted)
    for name, phrases in word_list()["groups"].items():
        yield from _each(phrases, "group", name)
    for section, category in LISTS.items():
        for name, phrases in word_list()[section].items():
            yield from _each(phrases, f"{category}.{name}" if category == "negation" else category, name)
    for section, category in ENTRIES.items():
        for name, entry in word_list()[section].items():
            yield from _each(entry["words"], category, name)


NAMES: Final = frozenset({"instrument", "genre", "tempo", "mood", "role", "metre"})
"""The categories whose names are recognised when they are misspelt."""


def phrase_words() -> frozenset[str]:
    """Return the words of all phrases."""
    return frozenset(token.text for phrase, _ in chain(_phrases(), _section_phrases()) for token in tokenise(phrase))


def single_names() -> frozenset[str]:
    """Return the names of one word, with their plurals in -s, and the words for units of length."""
    names = {phrase for phrase, meaning in _phrases() if meaning.category in NAMES and len(tokenise(phrase)) == 1}
    plurals = {f"{phrase}s" for _, phrases in instrument_phrases() for phrase in phrases if phrase in names}
    return frozenset({*names, *plurals, *time_units()})


def _each(phrases: Sequence[str], category: str, name: str) -> Iterator[tuple[str, PhraseMeaning]]:
    for phrase in phrases:
        yield phrase, PhraseMeaning(category, name)


def find_instrument(name: str) -> str | None:
    """Return the known instrument that a caller's name ends with, or None: "grand piano" is a "piano"."""
    tokens = tokenise(name)
    for match in reversed(phrase_tree().find(name, tokens)):
        known = match.name("instrument")
        if known and match.last == len(tokens):
            return known
    return None
