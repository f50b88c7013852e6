"""Reads the instruments: wanted ones, denied ones, "only", and the ones that begin alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind
from segue_music.plan import Role
from segue_planner.prompt.negation import MAX_FILLERS
from segue_planner.prompt.word_list.instruments import instruments, whole_layers
from segue_planner.prompt.word_list.phrases import PUNCTUATION, tokenise
from segue_planner.prompt.word_list.words import phrase_tree, word_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_planner.prompt.word_list.phrases import PhraseMatch

ARTICLES: Final = frozenset(
    {
        "a", "an", "the", "some", "one", "any", "with", "me", "and", "my", "eine", "ein", "un", "une", "una", "il",
        "le", "la", "el", "lonely", "soft",
    }
)  # fmt: skip
MAX_GAP: Final = 3
"""The number of words between "just" and the instrument: "just me and my guitar"."""
JOINS: Final = frozenset(
    {
        "with", "w", "featuring", "feat", "plus", "add", "adding", "extra", "mit", "avec", "con", "com", "met", "from",
        "over", "into", "of",
    }
)  # fmt: skip
"""Words before an instrument that joins others."""
BANDS: Final = frozenset(
    {"band", "beat", "beats", "groove", "ensemble", "duet", "song", "tune", "everyone", "full", "drop", "anthem", "rap"}
)
"""Words that make others play beside the only named instrument."""
SUGGESTING: Final = frozenset(
    {
        "synth", "synth lead", "keys", "horns", "orchestra", "nylon guitar", "electric guitar",
    }
)  # fmt: skip
"""Instruments that suggest others beside them."""
COUNTED: Final = frozenset(
    {
        "two", "three", "four", "2", "3", "4", "zwei", "drei", "deux", "trois", "dos", "tres", "due", "tre", "dois",
        "duas", "два", "две", "три",
    }
)  # fmt: skip
"""Numbers of players: "two guitars" are the whole cast."""
PLAYED: Final = frozenset({"drums", "bass", "percussion", "vocals"})
"""Names of whole layers that somebody plays: "guitar, bass and drums" is a trio."""
CHAMBER_PIECES: Final = frozenset(
    {
        "sonata", "nocturne", "etude", "fugue", "chamber music", "klassik", "waltz", "waltzes", "walzer", "valse",
        "vals", "valzer", "valsa", "вальс", "ワルツ", "圆舞曲", "华尔兹", "minuet", "mazurka", "rondo",
        "prelude", "impromptu",
    }
)  # fmt: skip
"""Words for a genre beside which the only named instruments play alone, too."""
PITCHED: Final = frozenset({LayerKind.HARMONY, LayerKind.LEAD, LayerKind.TEXTURES, LayerKind.BASS})
VOICES: Final = "voices"
"""The group of voices without instruments."""
INSTRUMENTAL: Final = frozenset({"instrumental", "instrumentals"})


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
    _read_group(phrases, facts)
    _read_alone(phrases, facts)
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
        if phrases.is_followed(match, negation["only"]) or phrases.is_followed(match, negation["ensemble"]):
            yield phrases.words_between(match.first, match.last + 1), match
        if before and before.name("ensemble_of"):
            yield phrases.words_between(before.first, match.last), match
        if before and before.name("negation.just"):
            gap = [token.text for token in phrases.tokens[before.last : match.first]]
            if len(gap) <= MAX_GAP and ARTICLES.issuperset(gap):
                yield phrases.words_between(before.first, match.last), match


def genre_within(match: PhraseMatch) -> str | None:
    """Return the genre that an instrument's phrase names: "funk bass" is of funk."""
    tokens = tokenise(match.words)
    found = (phrase_tree().find(match.words, [token]) for token in tokens) if len(tokens) > 1 else ()
    return next((name for each in found if each and (name := each[0].name("genre"))), None)


def _read_group(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the name of a whole cast, for example "string quartet": nobody else plays."""
    for match in phrases.wanted:
        group = match.name("group")
        if group and not facts.opens:
            facts.group, facts.only = group, facts.only or match.words
            if group == VOICES and len(facts.instruments) > 1:
                facts.instruments.pop("vocals", None)
            return


def _read_alone(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read "calm piano": the only named instruments of a prompt without a genre play alone."""
    genre = facts.genre and facts.genre.words.lower() not in CHAMBER_PIECES
    named = [match for match in phrases.wanted if match.name("instrument")]
    counted = [match for match in named if match.first and phrases.tokens[match.first - 1].text in COUNTED]
    if counted and not (genre or facts.only or facts.opens):
        facts.only = phrases.words_between(counted[0].first - 1, counted[0].last)
        return
    stated = genre or facts.only or facts.opens or not facts.instruments
    if stated or any(token.text in BANDS for token in phrases.tokens):
        return
    hints = (match for match in phrases.wanted if match.words.lower() not in CHAMBER_PIECES)
    if any(match.name("genre_hint") or match.name("vote.artists") for match in hints):
        return
    if any(genre_within(match) not in {None, "classical"} for match in named):
        return
    before = {phrases.tokens[index].text for match in named for index in range(max(0, match.first - 2), match.first)}
    kinds = {instruments()[name] for name in facts.instruments}
    if before & JOINS or not kinds & PITCHED or any(name in SUGGESTING for name in facts.instruments):
        return
    if any(name in whole_layers() and name not in PLAYED for name in facts.instruments):
        return
    facts.alone = phrases.words_between(named[0].first, named[-1].last)
