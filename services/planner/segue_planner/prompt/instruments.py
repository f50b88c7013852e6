"""Reads the instruments: wanted ones, denied ones, "only", and the ones that begin alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind
from segue_music.plan import Role
from segue_planner.prompt.negation import MAX_FILLERS
from segue_planner.prompt.word_list.instruments import instruments, whole_layers
from segue_planner.prompt.word_list.phrases import PUNCTUATION
from segue_planner.prompt.word_list.words import word_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_planner.prompt.word_list.phrases import PhraseMatch

ARTICLES: Final = frozenset({"a", "an", "the", "some", "one", "any", "with"})
INSTRUMENTAL: Final = frozenset({"instrumental", "instrumentals"})
UNACCOMPANIED: Final = frozenset({"a cappella", "acapella"})


def read_instruments(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read wanted and denied instruments."""
    for index, words in phrases.denied.items():
        read_denied(phrases.matches[index], words, facts)
    for token in phrases.tokens:
        stem = token.text.removesuffix("less")
        if stem != token.text and stem in _layer_stems():
            facts.without_layers.setdefault(_layer_stems()[stem], token.text)
        if token.text in INSTRUMENTAL:
            facts.without_layers.setdefault(LayerKind.VOCALS, token.text)
    for match in phrases.wanted:
        name = match.name("instrument")
        if name:
            facts.instruments.setdefault(name, match.words)
    _read_opening(phrases, facts)
    _read_only(phrases, facts)
    drop_contradictions(facts)


@cache
def _layer_stems() -> dict[str, LayerKind]:
    """Return the words that name a layer before "-less", for example "drum" in "drumless"."""
    stems = {word: LayerKind[kind] for kind, names in word_list()["silenced"].items() for word in names}
    for name, kind in whole_layers().items():
        stems.setdefault(name, kind)
        stems.setdefault(name.removesuffix("s"), kind)
    return stems


def read_denied(match: PhraseMatch, words: str, facts: PromptFacts) -> None:
    """Read a denied layer, instrument or role."""
    name, role = match.name("instrument"), match.name("role")
    silenced = match.name("silenced")
    if name and name in whole_layers():
        facts.without_layers.setdefault(whole_layers()[name], words)
    elif silenced:
        facts.without_layers.setdefault(LayerKind[silenced], words)
    elif name:
        facts.without_instruments.setdefault(name, words)
    elif role:
        facts.without_roles.setdefault(Role[role.upper()], words)


def drop_contradictions(facts: PromptFacts) -> None:
    """Drop instruments that the prompt both requests and denies. "No drums, but congas" is no contradiction."""
    for name in list(facts.instruments):
        denial = facts.without_instruments.get(name) or (
            facts.without_layers.get(instruments()[name]) if name in whole_layers() else None
        )
        if denial:
            by = f"the negative prompt says {denial!r}" if denial in facts.denying else f"{denial!r} denies it"
            facts.remarks.append(f"{facts.instruments[name]!r} is requested, but {by}; it is left out")
            del facts.instruments[name]


def _read_opening(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read "starts with solo piano, then …": these instruments begin alone."""
    for match in phrases.wanted:
        if match.name("opening"):
            _read_opening_instruments(phrases, match, facts)


def _read_opening_instruments(phrases: PromptPhrases, opening: PhraseMatch, facts: PromptFacts) -> None:
    position = opening.last
    for later in phrases.wanted:
        if later.first < position:
            continue
        between = [token.text for token in phrases.tokens[position : later.first]]
        name = later.name("instrument")
        if name is None and not later.name("negation.just") and not later.name("role"):
            if later.name("mood"):
                position = later.last
                continue
            return
        if PUNCTUATION & set(between) or len(between) > MAX_FILLERS:
            return
        position = later.last
        if name:
            facts.opens.setdefault(name, phrases.words_between(opening.first, later.last))


def _read_only(phrases: PromptPhrases, facts: PromptFacts) -> None:
    if facts.opens:
        return
    for words, match in _only_candidates(phrases):
        if facts.instruments.get(match.name("instrument") or "") is not None:
            facts.only = words
            return


def _only_candidates(phrases: PromptPhrases) -> Iterator[tuple[str, PhraseMatch]]:
    """Yield phrases such as "just drums", "cello alone", "solo piano", "cello duet", each with its instrument."""
    wanted, negation = phrases.wanted, word_list()["negation"]
    for index, match in enumerate(wanted):
        if not match.name("instrument"):
            continue
        before = wanted[index - 1] if index else None
        following = phrases.word_at(match.last)
        if following in negation["only"] or following in negation["ensemble"]:
            yield phrases.words_between(match.first, match.last + 1), match
        if match.words.lower() in UNACCOMPANIED:
            yield match.words, match
        if before and before.name("negation.just"):
            gap = [token.text for token in phrases.tokens[before.last : match.first]]
            if not gap or (len(gap) == 1 and gap[0] in ARTICLES):
                yield phrases.words_between(before.first, match.last), match
