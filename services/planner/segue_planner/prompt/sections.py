"""Reads the sections: their order, letters such as AABA, sections that must occur, and their bars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.prompt_facts import Stated
from segue_planner.prompt.word_list.words import word_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_planner.prompt.word_list.phrases import PhraseMatch, Token

SEPARATORS: Final = frozenset(
    {",", ">", "→", "|", "/", "+", "&", "and", "then", "und", "y", "et", "e", ";", ":", "(", ")"}
)
BARS: Final = frozenset({"bar", "bars", "measures", "takte", "x", "times"})
LETTERS: Final = re.compile(r"(?<!\w)(?P<letters>A['-]?(?:[ABC]['-]?){2,9})(?!\w)")
SONG_WORDS: Final = re.compile(r"\b(?:song|standard|tune|vocals?|lyrics|jazz|rondo)\b", re.IGNORECASE)
"""Words that make the letters of a form those of a song."""
SHORTEST_LIST: Final = 3
LONGEST_LIST: Final = 64
MAX_SECTION_BARS: Final = 256


def read_sections(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the order of the sections when three or more are listed; otherwise read the sections that must occur."""
    tokens, wanted = phrases.tokens, phrases.wanted
    roles = [match for match in wanted if match.name("role") and not _is_adjective(match, wanted)]
    _read_bars(roles, tokens, facts)
    listed = _longest_list(roles, tokens)
    letters = LETTERS.search(phrases.text)
    if len(listed) >= SHORTEST_LIST:
        words = phrases.words_between(listed[0].first, listed[-1].last)
        facts.form = Stated(tuple(_role(match) for match in listed[:LONGEST_LIST]), words)
        return
    if letters:
        is_song = bool(SONG_WORDS.search(phrases.text))
        facts.form = Stated(_roles_of_letters(letters["letters"], is_song=is_song), letters[0])
    for match in roles:
        facts.has.setdefault(_role(match), match.words)
    if "long_end" in facts.course and not facts.has.get(Role.OUTRO):
        facts.has[Role.OUTRO] = facts.course["long_end"]


def _role(match: PhraseMatch) -> Role:
    return Role[(match.name("role") or "").upper()]


def _is_adjective(match: PhraseMatch, wanted: Sequence[PhraseMatch]) -> bool:
    """Return whether "solo" belongs to the instrument after it: "solo piano"."""
    return bool(match.name("negation.just")) and any(
        other.first == match.last and other.name("instrument") for other in wanted
    )


def _longest_list(roles: Sequence[PhraseMatch], tokens: Sequence[Token]) -> list[PhraseMatch]:
    best: list[PhraseMatch] = []
    current: list[PhraseMatch] = []
    for match in roles:
        if current and not _is_separator(tokens[current[-1].last : match.first]):
            current = []
        current.append(match)
        if len(current) > len(best):
            best = list(current)
    return best


def _is_separator(between: Sequence[Token]) -> bool:
    return len(between) <= 6 and all(
        token.text in SEPARATORS or token.text in BARS or token.text.isdecimal() for token in between
    )


def _read_bars(roles: Sequence[PhraseMatch], tokens: Sequence[Token], facts: PromptFacts) -> None:
    """Read "8 bar intro" and "intro 8 bars"."""
    for match in roles:
        for count, bar in ((match.first - 2, match.first - 1), (match.last, match.last + 1)):
            if count < 0 or bar >= len(tokens) or not tokens[count].text.isdecimal() or tokens[bar].text not in BARS:
                continue
            number = int(tokens[count].text[:5])
            if 1 <= number <= MAX_SECTION_BARS:
                stated = tokens[min(count, match.first) : max(bar + 1, match.last)]
                words = " ".join(token.text for token in stated)
                facts.role_bars.setdefault(_role(match), Stated(number, words))
                break


def _roles_of_letters(letters: str, *, is_song: bool) -> tuple[Role, ...]:
    names = word_list()["letters"]["song" if is_song else "piece"]
    return tuple(Role[names[letter].upper()] for letter in letters if letter in names)
