"""Clauses of a text, and its words without a meaning: what is not read is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_planner.prompt.negation import JOINING
from segue_planner.prompt.word_list.phrases import PUNCTUATION
from segue_planner.prompt.word_list.words import word_list
from segue_planner.text import clip

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.word_list.phrases import PhraseMatch, Token

MAX_QUOTES: Final = 8
MAX_QUOTE_BYTES: Final = 80


def clauses(tokens: Sequence[Token]) -> Iterator[range]:
    """Yield the tokens between commas and words such as "and", as ranges of their indices."""
    start = 0
    for index, token in enumerate(tokens):
        in_metre = token.text == "/" and index > 0 and tokens[index - 1].text.isdecimal()
        if (token.text in PUNCTUATION or token.text in JOINING) and not in_metre:
            if index > start:
                yield range(start, index)
            start = index + 1
    if len(tokens) > start:
        yield range(start, len(tokens))


def matches_within(phrases: PromptPhrases, clause: range) -> list[PhraseMatch]:
    """Return the phrases that begin in a clause."""
    return [match for match in phrases.matches if match.first in clause]


def unread_words(phrases: PromptPhrases, read: Container[int]) -> list[str]:
    """Return the runs of words, in order, that are not read; words such as "the" and "please" ask for nothing."""
    silent = word_list()["fillers"]["words"]
    found: list[str] = []
    for clause in clauses(phrases.tokens):
        run: list[int] = []
        for index in (*clause, clause.stop):
            if index in clause and index not in read:
                run.append(index)
                continue
            speaking = [each for each in run if phrases.tokens[each].text not in silent]
            if speaking:
                found.append(phrases.words_between(speaking[0], speaking[-1] + 1))
            run = []
    return list(dict.fromkeys(found))


def not_read(unread: Sequence[str]) -> str:
    """Return the warning about words of a negative prompt that a model would have to read."""
    return (
        f"negative_prompt: {quoted(unread)} is no known layer, instrument, genre, mood or section, and no model in use "
        "reads negative prompts; it has no effect"
    )


def quoted(texts: Sequence[str]) -> str:
    """Return texts in quotes, in a length that fits into a warning."""
    names = ", ".join(repr(clip(text, MAX_QUOTE_BYTES)) for text in texts[:MAX_QUOTES])
    return f"{names} and {len(texts) - MAX_QUOTES} more" if len(texts) > MAX_QUOTES else names
