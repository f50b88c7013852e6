"""Reads who plays and who does not: instruments, negations, "only", and who begins alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind
from segue_music.plan import Role
from segue_planner.prompt.word_list.phrases import PUNCTUATION, instruments, whole_parts, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_planner.prompt.prompt_facts import PromptReading
    from segue_planner.prompt.word_list.phrases import Match, Token

JOINING: Final = frozenset({"or", "nor", "and", "ni", "oder", "o", "ou", "y", "e", "et", "und", "/", "&", "+"})
DENYING: Final = frozenset({"or", "nor", "ni", "oder"})
ARTICLES: Final = frozenset({"a", "an", "the", "some", "one", "any", "with"})
INSTRUMENTAL: Final = frozenset({"instrumental", "instrumentals"})
UNACCOMPANIED: Final = frozenset({"a cappella", "acapella"})
MAX_FILLERS: Final = 2


@dataclass
class Band:
    """The phrases of a prompt, and which of them are denied."""

    text: str
    tokens: Sequence[Token]
    matches: Sequence[Match]
    denied: dict[int, str] = field(default_factory=dict)
    """Index of a match to the words that deny it."""

    @property
    def wanted(self) -> list[Match]:
        """The phrases that are not denied."""
        return [match for index, match in enumerate(self.matches) if index not in self.denied]

    def words_between(self, first: int, last: int) -> str:
        """Return the text of some tokens."""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end]


def deny(text: str, tokens: Sequence[Token], matches: Sequence[Match]) -> Band:
    """Find what each negation denies: the next thing, and a list that "or" or "and" holds together."""
    band = Band(text, tokens, matches)
    at = {match.first: index for index, match in enumerate(matches)}
    for index, match in enumerate(matches):
        if match.name("negation.no") and index not in band.denied:
            _deny_list(band, at, match)
    for index, match in enumerate(matches):
        following = tokens[match.last].text if match.last < len(tokens) else ""
        if following in words()["negation"]["suffix"] and _deniable(match):
            band.denied[index] = band.words_between(match.first, match.last + 1)
    return band


def _deny_list(band: Band, at: dict[int, int], negation: Match) -> None:
    place = negation.last
    allowed = MAX_FILLERS
    while True:
        index = _next_deniable(band, at, place, allowed)
        if index is None:
            return
        match = band.matches[index]
        band.denied[index] = band.words_between(negation.first, match.last)
        place = _after_joint(band, at, match.last)
        if place < 0:
            return
        allowed = 0


def _next_deniable(band: Band, at: dict[int, int], place: int, fillers: int) -> int | None:
    """Return the first thing from a place on that can be denied, behind a few words that say nothing.

    "No heavy drums" denies drums; a mood itself is denied when nothing follows the moods.
    """
    mood: int | None = None
    while place < len(band.tokens):
        index = at.get(place)
        if index is not None and _deniable(band.matches[index]):
            return index
        if index is None:
            if fillers == 0 or band.tokens[place].text in PUNCTUATION:
                break
            fillers -= 1
            place += 1
        elif band.matches[index].name("mood") or band.matches[index].name("tempo"):
            mood, fillers, place = index, 0, band.matches[index].last
        else:
            break
    return mood


def _after_joint(band: Band, at: dict[int, int], place: int) -> int:
    """Return where a list of denied things goes on, or -1."""
    tokens = band.tokens
    if place >= len(tokens):
        return -1
    if tokens[place].text in JOINING:
        index = at.get(place + 1)
        alone = index is not None and not (
            (last := band.matches[index].last) < len(tokens) and tokens[last].text in words()["negation"]["only"]
        )
        return place + 1 if alone else -1
    # "no drums, bass or vocals": the comma goes on only where an "or" follows.
    probe = place
    while probe < len(tokens) and tokens[probe].text == "," and (index := at.get(probe + 1)) is not None:
        probe = band.matches[index].last
        if probe < len(tokens) and tokens[probe].text in DENYING:
            return place + 1
    return -1


def _deniable(match: Match) -> bool:
    return any(
        meaning.category in {"instrument", "silenced", "genre", "genre_hint", "role"}
        or (meaning.category == "course" and meaning.name in {"loop", "key_change", "fade_end"})
        for meaning in match.meanings
    )


@cache
def _silenced_stems() -> dict[str, LayerKind]:
    stems = {word: LayerKind[kind] for kind, names in words()["silenced"].items() for word in names}
    for name, kind in whole_parts().items():
        stems.setdefault(name, kind)
        stems.setdefault(name.removesuffix("s"), kind)
    return stems


def read_band(band: Band, reading: PromptReading) -> None:
    """Read who plays and who does not."""
    for index, said in band.denied.items():
        _read_denied(band.matches[index], said, reading)
    for token in band.tokens:
        stem = token.text.removesuffix("less")
        if stem != token.text and stem in _silenced_stems():
            reading.without_layers.setdefault(_silenced_stems()[stem], token.text)
        if token.text in INSTRUMENTAL:
            reading.without_layers.setdefault(LayerKind.VOCALS, token.text)
    for match in band.wanted:
        name = match.name("instrument")
        if name:
            reading.instruments.setdefault(name, match.words)
    _read_opening(band, reading)
    _read_only(band, reading)
    for name in list(reading.instruments):
        denial = reading.without_instruments.get(name) or (
            reading.without_layers.get(instruments()[name]) if name in whole_parts() else None
        )
        # "no drums, but congas" is no contradiction: what is named by itself plays.
        if denial:
            reading.remarks.append(
                f"{reading.instruments[name]!r} is asked for and {denial!r} denies it; it does not play"
            )
            del reading.instruments[name]


def _read_denied(match: Match, said: str, reading: PromptReading) -> None:
    name, role = match.name("instrument"), match.name("role")
    silenced = match.name("silenced")
    if name and name in whole_parts():
        reading.without_layers.setdefault(whole_parts()[name], said)
    elif silenced:
        reading.without_layers.setdefault(LayerKind[silenced], said)
    elif name:
        reading.without_instruments.setdefault(name, said)
    elif role:
        reading.without_roles.setdefault(Role[role.upper()], said)


def _read_opening(band: Band, reading: PromptReading) -> None:
    """Read "starts with solo piano, then …": those instruments begin alone."""
    for match in band.wanted:
        if not match.name("opening"):
            continue
        place = match.last
        for later in band.wanted:
            if later.first < place:
                continue
            between = [token.text for token in band.tokens[place : later.first]]
            name = later.name("instrument")
            if name is None and not later.name("negation.just") and not later.name("role"):
                if later.name("mood"):
                    place = later.last
                    continue
                return
            if PUNCTUATION & set(between) or len(between) > MAX_FILLERS:
                return
            place = later.last
            if name:
                reading.opens.setdefault(name, band.words_between(match.first, later.last))


def _read_only(band: Band, reading: PromptReading) -> None:
    if reading.opens:
        return
    for words_of, match in _only_candidates(band):
        if reading.instruments.get(match.name("instrument") or "") is not None:
            reading.only = words_of
            return


def _only_candidates(band: Band) -> Iterator[tuple[str, Match]]:
    """Yield phrases such as "just drums", "cello alone", "solo piano", "a duet of"; the instrument is wanted."""
    wanted = band.wanted
    for index, match in enumerate(wanted):
        if not match.name("instrument"):
            continue
        before = wanted[index - 1] if index else None
        following = band.tokens[match.last].text if match.last < len(band.tokens) else ""
        if following in words()["negation"]["only"] or following in words()["negation"]["ensemble"]:
            yield band.words_between(match.first, match.last + 1), match
        if match.words.lower() in UNACCOMPANIED:
            yield match.words, match
        if before and (before.name("negation.just") or before.name("role") == "solo"):
            gap = [token.text for token in band.tokens[before.last : match.first]]
            if before.name("negation.just") and (not gap or (len(gap) == 1 and gap[0] in ARTICLES)):
                yield band.words_between(before.first, match.last), match


def blank(text: str, matches: Sequence[Match], tokens: Sequence[Token]) -> str:
    """Return a text with blanks where phrases stand, so that "12 bar blues" is not read as a length."""
    kept = list(text)
    for match in matches:
        if match.name("instrument") or match.name("genre") or match.name("ignored"):
            for place in range(tokens[match.first].start, tokens[match.last - 1].end):
                kept[place] = " "
    return "".join(kept)
