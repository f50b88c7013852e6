"""Finds phrases in a text: in one pass from left to right, the longest phrase first."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
ELIDED: Final = r"\b(?:l|d|j|n|qu|dell|nell|sull|dall|all)(?=')"
"""Short words that an apostrophe joins to the next one: "l'accordéon", "rock'n'roll"."""
# A word, a sign of its own, or one character of a script without spaces. A hyphen only separates words.
TOKEN: Final = re.compile(rf"[{CJK}]|{ELIDED}|[^\W_{CJK}]+(?:'(?!n')[^\W_{CJK}]+)?|[,.;:!?/()&>→+|]", re.IGNORECASE)
PUNCTUATION: Final = frozenset(",.;:!?/()>→|")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text, in lower case, and its position."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PhraseMeaning:
    """The meaning of a phrase: a category, for example "genre", and a name in the table of that category."""

    category: str
    name: str


@dataclass(frozen=True, slots=True)
class PhraseMatch:
    """A phrase in a text: tokens `first` to `last` (excluded), and its meanings."""

    first: int
    last: int
    meanings: tuple[PhraseMeaning, ...]
    words: str

    def name(self, category: str) -> str | None:
        """Return the name that the phrase has in a category, or None."""
        return next((meaning.name for meaning in self.meanings if meaning.category == category), None)


@dataclass
class _Node:
    following: dict[str, _Node] = field(default_factory=dict)
    meanings: list[PhraseMeaning] = field(default_factory=list)


class PhraseTree:
    """Phrases as a tree of words."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, phrase: str, meaning: PhraseMeaning) -> None:
        """Add a phrase. Of several meanings in one category the first counts."""
        node = self._root
        for token in tokenise(phrase):
            node = node.following.setdefault(token.text, _Node())
        if all(known.category != meaning.category for known in node.meanings):
            node.meanings.append(meaning)

    def following(self, word: str) -> Iterable[str]:
        """Return the words that follow a word in phrases."""
        node = self._root.following.get(word)
        return node.following if node else ()

    def find(self, text: str, tokens: Sequence[Token]) -> list[PhraseMatch]:
        """Return the phrases of a text in order, without overlap."""
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

    def _longest(self, text: str, tokens: Sequence[Token], first: int) -> PhraseMatch | None:
        node, best = self._root, None
        for index in range(first, len(tokens)):
            following = node.following.get(tokens[index].text)
            if following is None:
                break
            node = following
            if node.meanings:
                words = text[tokens[first].start : tokens[index].end]
                best = PhraseMatch(first, index + 1, tuple(node.meanings), words)
        return best


def tokenise(text: str) -> list[Token]:
    """Split a text into words in lower case."""
    return [Token(match[0].lower(), match.start(), match.end()) for match in TOKEN.finditer(text)]
