"""Reads the prompt of one section: layers, instruments, energy and feel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_music.elements import Feel
from segue_planner.averages import mean
from segue_planner.names import role_name
from segue_planner.prompt.clauses import unread_words
from segue_planner.prompt.instruments import read_instruments
from segue_planner.prompt.negation import find_phrases
from segue_planner.prompt.prompt_facts import PromptFacts, Stated
from segue_planner.prompt.word_list.words import word_list
from segue_planner.text import clean

if TYPE_CHECKING:
    from segue_music.plan import Role
    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.word_list.phrases import PhraseMatch

MOOD_CHANGE: Final = 0.3
"""The change of the energy for a mood of full arousal."""
DENIED_SHARE: Final = -0.5
"""The part of its change that a denied word has: "not too loud" is a little softer."""
EVERYONE: Final = "everyone"
"""The entry of the table `energy` for words that bring in all players."""
FEELS: Final = {"half_time": Feel.HALF_TIME, "double_time": Feel.DOUBLE_TIME}
SLOPES: Final = {"builds": 0.3, "calms": -0.3, "fade_end": -0.6}
"""How much the energy changes from the first bar to the last one."""


@dataclass
class SectionFacts:
    """What a section's prompt states."""

    players: PromptFacts = field(default_factory=PromptFacts)
    """Wanted and denied layers and instruments, and whether others are excluded."""
    change: Stated[float] | None = None
    """The change of the energy of all bars."""
    slope: Stated[float] | None = None
    """The change of the energy from the first bar to the last one."""
    feel: Stated[Feel] | None = None
    everyone: str = ""
    """The words that bring in all players of the piece; empty: none do."""
    unread: list[str] = field(default_factory=list)

    @property
    def says_players(self) -> bool:
        """Whether it states anything about layers or instruments."""
        players = self.players
        return bool(players.instruments or players.without_layers or players.without_instruments)


def read_section_prompt(text: str, role: Role) -> SectionFacts:
    """Read a section's prompt. Everything else in it, for example a key, is in `unread`."""
    phrases = find_phrases(clean(text), section=True)
    found = SectionFacts()
    read_instruments(phrases, found.players)
    found.players.opens, found.players.without_roles = {}, {}
    read = _read_energy(phrases, found) | _read_course(phrases, found)
    leaving = {match.last for index, match in enumerate(phrases.matches) if index in phrases.denied}
    for index, match in enumerate(phrases.matches):
        denied = index in phrases.denied or (bool(match.name("leaving")) and bool(leaving))
        if _names_players(match, denied=denied) or match.name("role") == role_name(role).replace("-", "_"):
            read.update(range(match.first, match.last))
    words = word_list()["negation"]
    spoken = {*words["suffix"], *words["only"], *words["ensemble"]}
    stated = {*found.players.without_layers.values()}
    for index, token in enumerate(phrases.tokens):
        if token.text in spoken or token.text in stated:
            read.add(index)
    found.unread = unread_words(phrases, read)
    return found


def _names_players(match: PhraseMatch, *, denied: bool) -> bool:
    if match.name("leaving") or match.name("silenced"):
        return denied
    return bool(match.name("instrument") or match.name("negation.no") or match.name("negation.just"))


def _read_energy(phrases: PromptPhrases, found: SectionFacts) -> set[int]:
    """Read the words of energy and mood; return their tokens."""
    levels, moods = word_list()["energy"], word_list()["moods"]
    changes: list[float] = []
    said: list[str] = []
    read: set[int] = set()
    for index, match in enumerate(phrases.matches):
        level, mood = match.name("energy"), match.name("mood")
        if not (level or mood) or match.name("instrument"):
            continue
        if level == EVERYONE and index not in phrases.denied:
            found.everyone = match.words
        change = levels[level]["change"] if level else MOOD_CHANGE * moods[mood]["arousal"]
        denied = phrases.denied.get(index)
        changes.append(change * DENIED_SHARE if denied else change)
        said.append(denied or match.words)
        read.update(range(match.first, match.last))
    if changes and mean(changes):
        found.change = Stated(round(mean(changes), 4), ", ".join(said))
        return read
    return set()


def _read_course(phrases: PromptPhrases, found: SectionFacts) -> set[int]:
    """Read the feel, and what happens to the energy in the section; return their tokens."""
    read: set[int] = set()
    for match in phrases.wanted:
        course = match.name("course") or ""
        if course in FEELS and found.feel is None:
            found.feel = Stated(FEELS[course], match.words)
        elif course in SLOPES and found.slope is None:
            found.slope = Stated(SLOPES[course], match.words)
        else:
            continue
        read.update(range(match.first, match.last))
    return read
