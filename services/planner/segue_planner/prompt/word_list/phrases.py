"""Words and phrases of the data files, found in a prompt: the longest phrase wins, from left to right, in one pass."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from segue_music.elements import LayerKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# A word, a sign of its own, or one character of a script that writes no spaces. A hyphen only separates.
TOKEN: Final = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:'[^\W_{CJK}]+)?|[,.;:!?/()&>→+|]")
PUNCTUATION: Final = frozenset(",.;:!?/()>→|")

# Tables of words.toml and what their entries mean: lists of phrases, and tables that have such a list.
LISTS: Final = {
    "roles": "role", "metres": "metre", "negation": "negation", "course": "course", "silenced": "silenced",
    "ignored": "ignored", "opening": "opening",
}  # fmt: skip
ENTRIES: Final = {"tempo": "tempo", "moods": "mood", "clips": "clip"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the prompt and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase stands for: a category, as "genre" or "tempo", and a name in its table."""

    category: str
    name: str


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase found: tokens `first` to `last` (excluded), and its meanings."""

    first: int
    last: int
    meanings: tuple[Meaning, ...]
    words: str

    def name(self, category: str) -> str | None:
        """Return what it stands for in a category."""
        return next((meaning.name for meaning in self.meanings if meaning.category == category), None)


@dataclass
class _Node:
    following: dict[str, _Node] = field(default_factory=dict)
    meanings: list[Meaning] = field(default_factory=list)


class Lexicon:
    """All phrases as a tree of words."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, phrase: str, meaning: Meaning) -> None:
        """Add a phrase; in a category the first meaning counts."""
        node = self._root
        for token in tokenise(phrase):
            node = node.following.setdefault(token.text, _Node())
        if all(known.category != meaning.category for known in node.meanings):
            node.meanings.append(meaning)

    def find(self, text: str, tokens: Sequence[Token]) -> list[Match]:
        """Return the phrases of a text, in order, without overlap."""
        found = []
        index = 0
        while index < len(tokens):
            match = self._longest(text, tokens, index)
            if match:
                found.append(match)
                index = match.last
            else:
                index += 1
        return found

    def _longest(self, text: str, tokens: Sequence[Token], first: int) -> Match | None:
        node, best = self._root, None
        for index in range(first, len(tokens)):
            following = node.following.get(tokens[index].text)
            if following is None:
                break
            node = following
            if node.meanings:
                words = text[tokens[first].start : tokens[index].end]
                best = Match(first, index + 1, tuple(node.meanings), words)
        return best


def tokenise(text: str) -> list[Token]:
    """Split a text into words in lower case."""
    return [Token(match[0].lower(), match.start(), match.end()) for match in TOKEN.finditer(text)]


def table(name: str) -> dict[str, Any]:
    """Read one of the package's data files."""
    return tomllib.loads(resources.files("segue_planner").joinpath(name).read_text(encoding="utf-8"))


@cache
def words() -> Mapping[str, Any]:
    """Return words.toml."""
    return table("prompt/word_list/words.toml")


@cache
def instruments() -> Mapping[str, LayerKind]:
    """Return every instrument's part."""
    content = table("prompt/word_list/instruments.toml")
    return {name: LayerKind[kind] for kind, names in content.items() if kind != "whole" for name in names}


@cache
def whole_parts() -> Mapping[str, LayerKind]:
    """Return the names that stand for a whole part, as "drums"."""
    return {
        name: LayerKind[kind]
        for kind, names in table("prompt/word_list/instruments.toml")["whole"].items()
        for name in names
    }


@cache
def lexicon() -> Lexicon:
    """Return the phrases of all data files."""
    found = Lexicon()
    phrases = list(_phrases())
    for phrase, meaning, _ in phrases:
        found.add(phrase, meaning)
    for phrase, meaning, plural in phrases:
        if plural:
            found.add(f"{phrase}s", meaning)
    return found


def _phrases() -> Iterator[tuple[str, Meaning, bool]]:
    """Yield every phrase, its meaning, and whether it has a plural with -s."""
    for kind, names in table("prompt/word_list/instruments.toml").items():
        for name, phrases in names.items() if kind != "whole" else ():
            yield from _each(phrases, "instrument", name, plural=True)
    for name, genre in table("genres/genres.toml").items():
        yield from _each(genre["words"], "genre", name)
        yield from _each(genre.get("hints", ()), "genre_hint", name)
    content = words()
    for section, category in LISTS.items():
        for name, phrases in content[section].items():
            yield from _each(phrases, f"{category}.{name}" if category == "negation" else category, name)
    for section, category in ENTRIES.items():
        for name, entry in content[section].items():
            yield from _each(entry["words"], category, name)


def _each(
    phrases: Sequence[str], category: str, name: str, *, plural: bool = False
) -> Iterator[tuple[str, Meaning, bool]]:
    for phrase in phrases:
        yield phrase, Meaning(category, name), plural


def instrument_of(name: str) -> tuple[str, LayerKind] | None:
    """Return the instrument that a caller's word names, and its part; None when nobody knows it."""
    tokens = tokenise(name)
    for match in reversed(lexicon().find(name, tokens)):
        known = match.name("instrument")
        if known and match.last == len(tokens):
            return known, instruments()[known]
    return None
