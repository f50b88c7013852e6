"""Reads a negative prompt: what it names must not be heard."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_planner.genres.artists import Artists
from segue_planner.prompt.clauses import clauses, matches_within, unread_words
from segue_planner.prompt.instruments import drop_contradictions, read_denied
from segue_planner.prompt.negation import can_be_denied, find_phrases
from segue_planner.prompt.prompt_facts import PromptFacts
from segue_planner.text import clean
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.plan import Role
    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.word_list.phrases import PhraseMatch

COURSES: Final = frozenset(
    {"loop", "key_change", "fade_end", "half_time", "double_time", "builds", "calms", "speeds_up", "slows_down"}
)
"""Developments of a piece that happen only when they are asked for, or that the planner can leave out."""


def read_negative_prompt(text: str) -> PromptFacts:
    """Read what a negative prompt excludes. "No drums" in it means the same as "drums"."""
    facts = PromptFacts()
    phrases = find_phrases(clean(text))
    read: set[int] = set()
    for match in phrases.matches:
        if match.name("negation.no") or match.name("negation.just"):
            read.update(range(match.first, match.last))
    for clause in clauses(phrases.tokens):
        start = clause.start
        for match in _denied_in(phrases, clause):
            words = phrases.words_between(start, match.last)
            _deny(match, words, facts)
            read.update(range(start, match.last))
            start = match.last
    facts.unread = unread_words(phrases, read)
    stated = (
        facts.without_layers, facts.without_instruments, facts.without_roles, facts.without_genres,
        facts.without_moods, facts.without_tempos, facts.without_course,
    )  # fmt: skip
    facts.denying = frozenset(words for table in stated for words in table.values())
    return facts


def _denied_in(phrases: PromptPhrases, clause: range) -> Iterator[PhraseMatch]:
    """Yield what a clause names. "Heavy jazz drums" names the drums: the words before them describe them."""
    matches = matches_within(phrases, clause)
    objects = [match for match in matches if can_be_denied(match) or match.name("course") in COURSES]
    if not objects:
        yield from (match for match in matches if match.name("mood") or match.name("tempo"))
        return
    for match, following in pairwise([*objects, None]):
        if match is not None and not (following is not None and _describes(match, following)):
            yield match


def _describes(match: PhraseMatch, following: PhraseMatch) -> bool:
    """Return whether a phrase belongs to the one after it: "jazz piano", "solo piano", "guitar solo"."""
    if match.last != following.first:
        return False
    is_kind = bool(match.name("genre") or match.name("genre_hint") or match.name("negation.just"))
    return (is_kind and bool(following.name("instrument"))) or bool(match.name("instrument") and following.name("role"))


def _deny(match: PhraseMatch, words: str, facts: PromptFacts) -> None:
    genre, mood, tempo = match.name("genre") or match.name("genre_hint"), match.name("mood"), match.name("tempo")
    course = match.name("course")
    if match.name("instrument") or match.name("silenced") or match.name("role"):
        read_denied(match, words, facts)
    elif course in COURSES and course is not None:
        facts.without_course.setdefault(course, words)
    elif genre:
        facts.without_genres.setdefault(genre, words)
    elif mood:
        facts.without_moods.setdefault(mood, words)
    elif tempo:
        facts.without_tempos.setdefault(tempo, words)


def with_exclusions(prompt: PromptFacts, excluded: PromptFacts) -> PromptFacts:
    """Return a prompt's facts without those that a negative prompt excludes. Where both name one, the latter wins."""
    facts = dataclasses.replace(
        prompt,
        instruments=dict(prompt.instruments),
        without_layers=excluded.without_layers | prompt.without_layers,
        without_instruments=excluded.without_instruments | prompt.without_instruments,
        without_roles=excluded.without_roles | prompt.without_roles,
        without_genres=excluded.without_genres,
        without_moods=excluded.without_moods,
        without_tempos=excluded.without_tempos,
        without_course=excluded.without_course,
        denying=excluded.denying,
        unread=excluded.unread,
        has=dict(prompt.has),
        course=dict(prompt.course),
        moods=dict(prompt.moods),
        remarks=list(prompt.remarks),
    )
    if excluded.denying:
        drop_contradictions(facts)
        _drop_excluded(facts)
    return facts


def with_artists(facts: PromptFacts, artists: Artists) -> PromptFacts:
    """Return a prompt's facts as the setting wants them; InvalidField where a name is refused."""
    if not facts.artists or artists == Artists.READ:
        return facts
    if artists == Artists.REFUSE:
        problem = "this service plans nothing in the style of a named artist; describe the music"
        raise errors.InvalidField(f"brief.prompt: {problem}", violations=[FieldViolation("brief.prompt", problem)])
    return dataclasses.replace(facts, votes=[vote for vote in facts.votes if vote.kind != "artists"])


def _drop_excluded(facts: PromptFacts) -> None:
    tables: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
        (facts.moods, facts.without_moods), (facts.course, facts.without_course),
    )  # fmt: skip
    for stated, denied in tables:
        for name in [name for name in stated if name in denied]:
            _remark(facts, stated.pop(name), denied[name])
    for role in [role for role in facts.has if role in facts.without_roles]:
        _remark(facts, facts.has.pop(role), facts.without_roles[role])
    if facts.genre and facts.genre.value in facts.without_genres:
        _remark(facts, facts.genre.words, facts.without_genres[facts.genre.value])
        facts.genre = None
    if facts.tempo_word and facts.tempo_word.value in facts.without_tempos:
        _remark(facts, facts.tempo_word.words, facts.without_tempos[facts.tempo_word.value])
        facts.tempo_word = None
    if facts.form and any(role in facts.without_roles for role in facts.form.value):
        kept: tuple[Role, ...] = tuple(role for role in facts.form.value if role not in facts.without_roles)
        denied_role = next(role for role in facts.form.value if role in facts.without_roles)
        _remark(facts, facts.form.words, facts.without_roles[denied_role])
        facts.form = dataclasses.replace(facts.form, value=kept) if kept else None


def _remark(facts: PromptFacts, stated: str, denied: str) -> None:
    facts.remarks.append(f"{stated!r} is requested, but the negative prompt says {denied!r}; it is left out")
