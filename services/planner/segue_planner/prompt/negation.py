"""Finds the phrases that a prompt denies: after "no", "without", "ohne" …, and before "free" and "less"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_planner.prompt.word_list.phrases import CJK, PUNCTUATION, tokenise
from segue_planner.prompt.word_list.spelling import corrected
from segue_planner.prompt.word_list.words import phrase_tree, section_phrase_tree, word_list
from segue_planner.text import blank_new_characters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.prompt.word_list.phrases import PhraseMatch, Token

# Signs and their plain equivalents of the same length, so that patterns need only one spelling. The last four letters
# match i, s and k in patterns that ignore case, but have another lower case.
PLAIN: Final = {
    0x2019: "'", 0x2018: "'", 0x2013: "-", 0x2014: "-", 0x2212: "-", 0x266F: "#", 0x266D: "b",
    0x0130: "I", 0x0131: "i", 0x017F: "s", 0x212A: "K",
    # Wide signs, letters and digits of East Asian keyboards.
    0x3000: " ", 0x3001: ",", 0x3002: ".", **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
}  # fmt: skip
CJK_WORD: Final = re.compile(f"[{CJK}]")
JOINING: Final = frozenset(
    {"or", "nor", "and", "ni", "oder", "o", "ou", "y", "e", "et", "und", "и", "en", "i", "/", "&", "+"}
)
DENYING: Final = frozenset({"or", "nor", "ni", "oder"})
MAX_FILLERS: Final = 2
"""The number of unknown words that may stand between a negation and its object: "no heavy distorted guitars"."""


@dataclass
class PromptPhrases:
    """A prompt, its phrases, and the denied ones among them."""

    text: str
    tokens: Sequence[Token]
    matches: Sequence[PhraseMatch]
    denied: dict[int, str] = field(default_factory=dict)
    """Indices in `matches`, with the words that deny them."""
    spelling: dict[str, str] = field(default_factory=dict)
    """Misspelt words, and what they are read as."""

    @property
    def wanted(self) -> list[PhraseMatch]:
        """The phrases that are not denied."""
        return [match for index, match in enumerate(self.matches) if index not in self.denied]

    def words_between(self, first: int, last: int) -> str:
        """Return the text of the tokens from `first` to `last` (excluded)."""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end]

    def word_at(self, index: int) -> str:
        """Return the text of a token, or "" after the last one."""
        return self.tokens[index].text if index < len(self.tokens) else ""

    def is_followed(self, match: PhraseMatch, words: Sequence[str]) -> bool:
        """Return whether one of some words follows a phrase; in a script without spaces, its first letters do."""
        rest = self.text[self.tokens[match.last - 1].end :]
        return self.word_at(match.last) in words or any(
            CJK_WORD.match(word) and rest.startswith(word) for word in words
        )


def find_phrases(prompt: str, *, section: bool = False) -> PromptPhrases:
    """Find the phrases of a prompt, or of a section's prompt, and the denied ones among them.

    Denied are the next object of each negation, and the rest of a list joined by "or" or "and".
    """
    text = blank_new_characters(prompt).translate(PLAIN)
    text, spelling = corrected(text, tokenise(text))
    tokens = tokenise(text)
    matches = (section_phrase_tree() if section else phrase_tree()).find(text, tokens)
    phrases = PromptPhrases(text, tokens, matches, spelling=spelling)
    starts = {match.first: index for index, match in enumerate(matches)}
    for index, match in enumerate(matches):
        if match.name("negation.no") and index not in phrases.denied:
            _deny_list(phrases, starts, match)
    for index, match in enumerate(matches):
        if phrases.is_followed(match, word_list()["negation"]["suffix"]) and can_be_denied(match):
            phrases.denied[index] = phrases.words_between(match.first, match.last + 1)
        if match.name("leaving"):
            _deny_before(phrases, index)
    return phrases


def _deny_before(phrases: PromptPhrases, leaving: int) -> None:
    """Deny the players before "drop out": the nearest phrase and the list that it ends."""
    fillers, end = word_list()["fillers"]["words"], phrases.matches[leaving].first
    if phrases.matches[leaving].name("instrument"):
        phrases.denied[leaving] = phrases.matches[leaving].words
    is_list = leaving in phrases.denied
    for index in range(leaving - 1, -1, -1):
        match = phrases.matches[index]
        between = {token.text for token in phrases.tokens[match.last : end]}
        joined = bool(between & JOINING)
        if not can_be_denied(match) or joined != is_list or not between <= {*fillers, *JOINING}:
            return
        phrases.denied[index] = phrases.words_between(match.first, phrases.matches[leaving].last)
        end, is_list = match.first, True


def _deny_list(phrases: PromptPhrases, starts: Mapping[int, int], negation: PhraseMatch) -> None:
    position = negation.last
    fillers = MAX_FILLERS
    while True:
        index = _next_object(phrases, starts, position, fillers)
        if index is None:
            return
        match = phrases.matches[index]
        phrases.denied[index] = phrases.words_between(negation.first, match.last)
        position = _next_in_list(phrases, starts, match.last)
        if position < 0:
            return
        fillers = 0


def _next_object(phrases: PromptPhrases, starts: Mapping[int, int], position: int, fillers: int) -> int | None:
    """Return the index of the first phrase from a position on that can be denied, after at most `fillers` other words.

    "No heavy drums" denies the drums. A mood itself is denied when no object follows it.
    """
    mood: int | None = None
    while position < len(phrases.tokens):
        index = starts.get(position)
        if index is not None and can_be_denied(phrases.matches[index]):
            return index
        if index is None:
            if fillers == 0 or phrases.tokens[position].text in PUNCTUATION:
                break
            fillers -= 1
            position += 1
        elif any(phrases.matches[index].name(category) for category in ("mood", "tempo", "energy")):
            mood, fillers, position = index, 0, phrases.matches[index].last
        else:
            break
    return mood


def _next_in_list(phrases: PromptPhrases, starts: Mapping[int, int], position: int) -> int:
    """Return the position where a list of denied objects continues, or -1."""
    tokens = phrases.tokens
    if position >= len(tokens):
        return -1
    if tokens[position].text in JOINING:
        index = starts.get(position + 1)
        # "no drums and piano only": the piano is wanted.
        is_denied = index is not None and (
            phrases.word_at(phrases.matches[index].last) not in word_list()["negation"]["only"]
        )
        return position + 1 if is_denied else -1
    # "no drums, bass or vocals": a comma continues the list only when an "or" follows later.
    probe = position
    while phrases.word_at(probe) == "," and (index := starts.get(probe + 1)) is not None:
        probe = phrases.matches[index].last
        if phrases.word_at(probe) in DENYING:
            return position + 1
    return -1


def can_be_denied(match: PhraseMatch) -> bool:
    """Return whether a phrase names something that a prompt can deny by itself."""
    return any(
        meaning.category in {"instrument", "silenced", "genre", "genre_hint", "role"}
        or (meaning.category == "course" and meaning.name in {"loop", "key_change", "fade_end"})
        for meaning in match.meanings
    )
