"""Facts that a prompt states, each with the words that state it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from segue_music.plan import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Key, LayerKind, Metre, Mode
    from segue_music.plan import Role
    from segue_planner.genres.votes import GenreVote
    from segue_planner.prompt.places.places import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stated(Generic[T]):
    """A value and the words of the prompt that state it."""

    value: T
    words: str


@dataclass(frozen=True)
class TempoChange:
    """A change of the tempo: a ramp over the piece, or a jump in a role or the last section."""

    words: str
    factor: float
    ramp: bool = False
    role: Role | None = None


@dataclass(frozen=True)
class MetreChange:
    """Another metre in the sections of a role, in one of them, or from the middle of the piece on."""

    metre: Metre
    words: str
    role: Role | None = None
    number: int = 0
    """As in `Place`."""


@dataclass
class Changes:
    """Changes of key, tempo and metre that a prompt states."""

    steps: int | None = None
    """The semitones of a modulation."""
    related: str = ""
    """"relative" or "parallel"."""
    last_key: Key | None = None
    every: bool = False
    """Whether each return of the peak is higher."""
    key_words: str = ""
    role_keys: dict[Role, tuple[Key | Mode, str]] = field(default_factory=dict)
    key_place: Place | None = None
    """The time from which the piece is in another key."""
    step_role: Role | None = None
    """The role that alone is in another key; None: the piece stays there from the last peak on."""
    tempo: TempoChange | None = None
    metres: list[MetreChange] = field(default_factory=list)
    metre_words: str = ""
    """A change of metre that no section can have: "alternating 7/8 and 5/8"."""


@dataclass
class PromptFacts:
    """The facts of a prompt; a fact that it does not state is None or empty."""

    bpm: Stated[float] | None = None
    bpm_range: Stated[tuple[float, float]] | None = None
    tempo_word: Stated[str] | None = None
    key: Stated[Key] | None = None
    mode: Stated[Mode] | None = None
    """The mode, when the prompt names no tonic."""
    metre: Stated[Metre] | None = None
    seconds: Stated[float] | None = None
    bars: Stated[int] | None = None
    clip: Stated[str] | None = None
    """The name of a short form, for example "jingle"."""
    genre: Stated[str] | None = None
    votes: list[GenreVote] = field(default_factory=list)
    """What else indicates a genre."""
    artists: list[str] = field(default_factory=list)
    """The names of artists, which go into no file."""
    instruments: dict[str, str] = field(default_factory=dict)
    """Wanted instruments and the words that name them."""
    without_layers: dict[LayerKind, str] = field(default_factory=dict)
    without_instruments: dict[str, str] = field(default_factory=dict)
    without_roles: dict[Role, str] = field(default_factory=dict)
    only: str = ""
    """The words that exclude every instrument outside `instruments`; empty: other instruments may play."""
    alone: str = ""
    """The words of the only instruments that are named, in a prompt without a genre: they play alone."""
    group: str = ""
    """The name of a whole cast, for example "string quartet"."""
    changes: Changes | None = None
    """Changes of key, tempo and metre."""
    directions: list[Direction] = field(default_factory=list)
    """What happens at single places."""
    opens: dict[str, str] = field(default_factory=dict)
    """Instruments that begin the piece alone."""
    form: Stated[tuple[Role, ...]] | None = None
    """The sections in order."""
    first_role: Stated[Role] | None = None
    """The section that begins the piece."""
    last_role: Stated[Role] | None = None
    """The section that ends the piece."""
    has: dict[Role, str] = field(default_factory=dict)
    """Sections that must occur."""
    placed: dict[Role, str] = field(default_factory=dict)
    """Sections in which something happens."""
    role_bars: dict[Role, Stated[int]] = field(default_factory=dict)
    form_bars: tuple[int, ...] = ()
    """The bars of each section of `form`, where all are stated."""
    counts: dict[Role, Stated[int]] = field(default_factory=dict)
    """How often a role occurs."""
    course: dict[str, str] = field(default_factory=dict)
    """Beginning, ending and development of the piece, by the names in the table `course` of words.toml."""
    feel_role: Role | None = None
    """The role that "half time" or "double time" refers to; None: the whole piece."""
    moods: dict[str, str] = field(default_factory=dict)
    without_genres: dict[str, str] = field(default_factory=dict)
    without_moods: dict[str, str] = field(default_factory=dict)
    without_tempos: dict[str, str] = field(default_factory=dict)
    without_course: dict[str, str] = field(default_factory=dict)
    denying: frozenset[str] = frozenset()
    """Those words that come from the negative prompt."""
    unread: list[str] = field(default_factory=list)
    """Words of a negative prompt that name nothing that a plan can leave out."""
    not_understood: list[str] = field(default_factory=list)
    """Words of the prompt that state nothing known."""
    spelling: dict[str, str] = field(default_factory=dict)
    """Misspelt words, and what they are read as."""
    remarks: list[str] = field(default_factory=list)
    """Contradictions and values that cannot be used, for the plan's warnings."""

    def origin(self, words: str) -> Origin:
        """Return where words come from: the prompt or the negative prompt."""
        return Origin.NEGATIVE_PROMPT if words in self.denying else Origin.PROMPT


@dataclass(frozen=True)
class Direction:
    """What happens at one place."""

    place: Place
    words: str
    players: PromptFacts = field(default_factory=PromptFacts)
    """Wanted and denied players, and whether others are excluded."""
    energy: str = ""
    """"quiet" or "loud"."""
    everyone: bool = False
    enters: bool = False
    """Whether the wanted players are silent before the place."""
    stops: bool = False
    """Whether the band stops for a moment before the place."""
    only_there: bool = False
    """Whether the wanted players are silent at all other places: "choir in the chorus only"."""


def stated_words(facts: PromptFacts) -> Iterator[str]:
    """Yield all words that state a fact, outside a list of words that state nothing."""
    for each in dataclasses.fields(facts):
        value = getattr(facts, each.name)
        values = value.values() if isinstance(value, dict) and each.name != "spelling" else (value,)
        for found in values:
            words = found.words if isinstance(found, Stated) else found
            if isinstance(words, str) and words:
                yield words
