"""Reads a prompt into facts."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.genres.artists import UNNAMED
from segue_planner.genres.votes import ITALIAN, PHRASE_KINDS, GenreVote, genres_of
from segue_planner.prompt.clauses import unread_words
from segue_planner.prompt.instruments import genre_within, read_instruments
from segue_planner.prompt.key import read_key
from segue_planner.prompt.length import read_length
from segue_planner.prompt.negation import PLAIN, find_phrases
from segue_planner.prompt.places.changes import split_changes
from segue_planner.prompt.places.directions import roles_of, split_directions
from segue_planner.prompt.prompt_facts import Changes, Direction, PromptFacts, Stated, stated_words
from segue_planner.prompt.sections import read_sections, split_edges
from segue_planner.prompt.tempo import read_metre, read_tempo
from segue_planner.prompt.word_list.phrases import tokenise
from segue_planner.text import blank_new_characters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.word_list.phrases import PhraseMatch

BELONGING: Final = re.compile(
    r"\b(?:slowly\s)?(?:(?:for|in|at|near|before|towards?)\s)?the\s(?:very\s)?(?:end|last|final)\b|\bslowly\b|\b\d+\sbars\b",
    re.IGNORECASE,
)
"""Words that belong to a change or to the bars of a form: "fades slowly at the end"."""


def read_prompt(prompt: str) -> PromptFacts:
    """Read the facts that a prompt states."""
    facts = PromptFacts()
    facts.changes = Changes()
    text = split_edges(split_changes(blank_new_characters(prompt).translate(PLAIN), facts.changes), facts)
    text, facts.directions, idle = split_directions(text)
    facts.remarks += [f"{words!r}: nothing is known that happens there; it is ignored" for words in idle]
    phrases = find_phrases(text)
    read_metre(phrases, facts)
    read_tempo(phrases, facts)
    read_key(phrases.text, facts)
    _read_genre(phrases.wanted, facts)
    _read_course(phrases.wanted, facts)
    read_instruments(phrases, facts)
    _read_votes(phrases.wanted, facts)
    read_sections(phrases, facts)
    read_length(phrases, facts)
    if facts.changes.key_words and "key_change" not in facts.course:
        facts.course["key_change"] = facts.changes.key_words
    _require_sections(facts, facts.changes)
    for role, words in roles_of(facts.directions):
        if role not in facts.has and facts.form is None:
            facts.placed[role] = words
    facts.spelling = phrases.spelling
    facts.not_understood = _not_understood(phrases, facts)
    return facts


def _require_sections(facts: PromptFacts, changes: Changes) -> None:
    """Require the sections in which something changes."""
    for role, (_, words) in changes.role_keys.items():
        facts.has.setdefault(role, words)
    for change in changes.metres:
        if change.role == Role.VERSE and facts.metre is None:
            facts.metre = Stated(change.metre, change.words)
        if change.role is not None:
            facts.placed.setdefault(change.role, change.words)
    if changes.tempo is not None and changes.tempo.role is not None:
        facts.placed.setdefault(changes.tempo.role, changes.tempo.words)
    if changes.key_place is not None:
        facts.directions.append(Direction(changes.key_place, changes.key_words))
    if changes.step_role is not None:
        facts.placed.setdefault(changes.step_role, changes.key_words)


def _not_understood(phrases: PromptPhrases, facts: PromptFacts) -> list[str]:
    """Return the words that are part of no phrase and of no fact."""
    read = {index for match in phrases.matches for index in range(match.first, match.last)}
    ends = [token.end for token in phrases.tokens]
    for words in set(stated_words(facts)):
        start = phrases.text.find(words)
        while start >= 0:
            end = start + len(words)
            index = bisect_right(ends, start)
            while index < len(ends) and phrases.tokens[index].start < end:
                read.add(index)
                index += 1
            start = phrases.text.find(words, end)
    if facts.course or facts.form_bars:
        for match in BELONGING.finditer(phrases.text):
            first = bisect_right(ends, match.start())
            read.update(index for index in range(first, first + len(tokenise(match[0]))))
    return unread_words(phrases, read)


def _read_genre(wanted: Sequence[PhraseMatch], facts: PromptFacts) -> None:
    """Read the genre.

    Of adjacent genres the last is the noun ("orchestral rock"). Of several such groups the first counts.
    """
    strong = [match for match in wanted if match.name("genre")]
    nouns = [match for match, after in pairwise([*strong, None]) if match and (not after or after.first != match.last)]
    if nouns:
        facts.genre = Stated(nouns[0].name("genre") or "", nouns[0].words)
        others = [match.words for match in nouns[1:] if match.name("genre") != facts.genre.value]
        if others:
            facts.remarks.append(f"several genres: the first, {nouns[0].words!r}, is used; {others[0]!r} is ignored")
        return
    for match in wanted:
        hint = match.name("genre_hint")
        if hint:
            facts.genre = Stated(hint, match.words)
            return


def _read_votes(wanted: Sequence[PhraseMatch], facts: PromptFacts) -> None:
    """Read what indicates a genre that no word names."""
    for match in wanted:
        for kind in PHRASE_KINDS:
            genre = match.name(f"vote.{kind}")
            if genre and kind == "artists":
                facts.artists.append(match.words)
                facts.votes.append(GenreVote(kind, genre, UNNAMED))
            elif genre:
                facts.votes.append(GenreVote(kind, genre, match.words))
        within = genre_within(match) if match.name("instrument") else None
        if within:
            facts.votes.append(GenreVote("words", within, match.words))
        for kind, name in (("instruments", match.name("instrument")), ("moods", match.name("mood"))):
            genre = genres_of(kind).get(name or "")
            if genre:
                facts.votes.append(GenreVote(kind, genre, match.words))
        if match.name("tempo") in ITALIAN:
            facts.votes.append(GenreVote("tempo", "classical", match.words))


def _read_course(wanted: Sequence[PhraseMatch], facts: PromptFacts) -> None:
    for index, match in enumerate(wanted):
        course, mood, clip = match.name("course"), match.name("mood"), match.name("clip")
        if course:
            facts.course.setdefault(course, match.words)
            following = wanted[index + 1] if index + 1 < len(wanted) else None
            role = following.name("role") if following and following.first == match.last else None
            if course in {"half_time", "double_time"} and role:
                facts.feel_role = Role[role.upper()]
        if mood:
            facts.moods.setdefault(mood, match.words)
        if clip and facts.clip is None:
            facts.clip = Stated(clip, match.words)
