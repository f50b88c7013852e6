"""Plans: the sections of a piece, the plan and its brief, and the profile of a model.

One frozen dataclass for each message of the contract, with the same field names. Durations are integers of nanoseconds
and end in `_ns`; zero of an enum (`NONE` or `UNSPECIFIED`) means what the contract's `…_UNSPECIFIED` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

# The codec reads the types of the fields at run time.
from segue_music.elements import (  # noqa: TC001
    Chord,
    Groove,
    Key,
    Layer,
    LayerKind,
    Metre,
    Motif,
    TempoPoint,
)


class Cadence(IntEnum):
    """How a section's harmony closes."""

    UNSPECIFIED = 0
    AUTHENTIC = 1
    HALF = 2
    PLAGAL = 3
    DECEPTIVE = 4


class MotifUse(IntEnum):
    """A section's use of the motif."""

    UNSPECIFIED = 0
    STATE = 1
    VARY = 2
    DEVELOP = 3
    RETURN = 4


class Role(IntEnum):
    """The function of a section in the form."""

    UNSPECIFIED = 0
    INTRO = 1
    VERSE = 2
    PRE_CHORUS = 3
    CHORUS = 4
    MOTIF = 5
    BRIDGE = 6
    DEVELOPMENT = 7
    BREAKDOWN = 8
    DROP = 9
    SOLO = 10
    RESOLUTION = 11
    OUTRO = 12


class Transition(IntEnum):
    """How a section hands over to the next."""

    UNSPECIFIED = 0
    FILL = 1
    RISER = 2
    STOP = 3
    PICKUP = 4
    REVERSE_CYMBAL = 5


class Continuity(IntEnum):
    """A section's dependence on an earlier one."""

    UNSPECIFIED = 0
    NONE = 1
    MOTIF = 2
    TAIL = 3


class JoinKind(IntEnum):
    """How two sections meet."""

    UNSPECIFIED = 0
    CROSSFADE = 1
    HARD = 2


class Kind(IntEnum):
    """The kind of piece."""

    UNSPECIFIED = 0
    PIECE = 1
    LOOP = 2


class Origin(IntEnum):
    """Where a value of the plan comes from."""

    UNSPECIFIED = 0
    CALLER = 1
    PROMPT = 2
    GENRE = 3
    SEED = 4
    DEFAULT = 5
    LANGUAGE_MODEL = 6
    NEGATIVE_PROMPT = 7


class TailPolicy(IntEnum):
    """Whether an ending may ring out beyond the last whole bar."""

    UNSPECIFIED = 0
    ALLOW = 1
    FORBID = 2


class Determinism(IntEnum):
    """Whether a model repeats its audio exactly."""

    UNSPECIFIED = 0
    BIT_EXACT = 1
    SEEDED = 2


class GuideKind(IntEnum):
    """The inputs that a model can follow besides the prompt (Guide in the contract)."""

    UNSPECIFIED = 0
    NOTES = 1
    MELODY_AUDIO = 2
    TIMBRE_AUDIO = 3


class LayerTask(IntEnum):
    """What a model does with one layer beside given audio."""

    UNSPECIFIED = 0
    ADD = 1
    EXTRACT = 2


class Honours(IntEnum):
    """How well a model keeps to a value of the plan."""

    UNSPECIFIED = 0
    ADVISORY = 1
    EXACT = 2


@dataclass(frozen=True, slots=True)
class SamplingHints:
    """Settings for models that sample."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class LyricLine:
    """One line of lyrics and its time in the section."""

    text: str
    start_tick: int = 0
    ticks: int = 0


@dataclass(frozen=True, slots=True)
class Lyrics:
    """Words to be sung."""

    text: str = ""
    language: str = ""
    lines: tuple[LyricLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The facts about the section before or after another one."""

    role: Role = Role.UNSPECIFIED
    border_chord: Chord | None = None
    energy: float = 0.0


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """Everything that a renderer needs for one section."""

    section_id: str
    role: Role
    bars: int
    label: str = ""
    frames: int = 0
    tail_frames: int = 0
    sample_rate: int = 0
    metre: Metre | None = None
    tempo_points: tuple[TempoPoint, ...] = ()
    key: Key | None = None
    genre: str = ""
    energy: tuple[float, ...] = ()
    layers: tuple[Layer, ...] = ()
    chords: tuple[Chord, ...] = ()
    cadence: Cadence = Cadence.UNSPECIFIED
    motif: Motif | None = None
    motif_use: MotifUse = MotifUse.UNSPECIFIED
    groove: Groove | None = None
    transition: Transition = Transition.UNSPECIFIED
    previous: Neighbour | None = None
    next: Neighbour | None = None
    prompt: str = ""
    negative_prompt: str = ""
    sampling: SamplingHints | None = None
    continuity: Continuity = Continuity.UNSPECIFIED
    target_lufs: float | None = None
    loop: bool = False
    model: str = ""
    lyrics: Lyrics | None = None
    timbre_section: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    """The transition between two sections."""

    kind: JoinKind = JoinKind.UNSPECIFIED
    beats: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedSection:
    """A section and its position in the piece."""

    spec: SectionSpec
    first_frame: int = 0
    first_bar: int = 0
    waits_for: tuple[str, ...] = ()
    join: Join | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of the plan and its origin."""

    field: str
    value: str
    origin: Origin
    words: str = ""
    section_id: str = ""


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 - the contract's word; there are no star imports of it
    """A message for the caller that does not stop the work."""

    code: str
    text: str
    section_id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a whole piece."""

    quarters_per_minute: float
    metre: Metre
    key: Key
    sections: tuple[PlannedSection, ...]
    version: int = 0
    digest: str = ""
    title: str = ""
    kind: Kind = Kind.UNSPECIFIED
    sample_rate: int = 0
    frames: int = 0
    genre: str = ""
    moods: tuple[str, ...] = ()
    motif: Motif | None = None
    seed: int = 0
    readings: tuple[Reading, ...] = ()
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """The request of a caller."""

    prompt: str = ""
    negative_prompt: str = ""
    kind: Kind = Kind.UNSPECIFIED
    duration_ns: int | None = None
    quarters_per_minute: float | None = None
    metre: Metre | None = None
    key: Key | None = None
    genre: str = ""
    form: tuple[Role, ...] = ()
    include_layers: tuple[LayerKind, ...] = ()
    exclude_layers: tuple[LayerKind, ...] = ()
    instruments: tuple[str, ...] = ()
    seed: int | None = None
    sample_rate: int = 0
    tail: TailPolicy = TailPolicy.UNSPECIFIED
    title: str = ""
    continuity: Continuity = Continuity.UNSPECIFIED
    sampling: SamplingHints | None = None
    lyrics: Lyrics | None = None
    same_timbre: bool = False


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """The abilities of a renderer's model (segue.renderer.v1.ModelProfile)."""

    model: str
    backend: str = ""
    model_digest: str = ""
    engine_version: str = ""
    sample_rate: int = 0
    channels: int = 2
    window_ns: int | None = None
    stride_ns: int | None = None
    layers: tuple[LayerKind, ...] = ()
    extra_stems: tuple[str, ...] = ()
    guides: tuple[int, ...] = ()
    """Numbers of GuideKind; a newer renderer may name kinds that are not known here."""
    continuities: tuple[Continuity, ...] = ()
    determinism: Determinism = Determinism.UNSPECIFIED
    real_time_factor: float = 0.0
    memory_bytes: int = 0
    gives_notes: bool = False
    uses_sampling: bool = False
    uses_negative_prompt: bool = False
    weights_license: str = ""
    conditioning_ns: int | None = None
    max_duration_ns: int | None = field(default=None)
    uses_prompt: bool = False
    grooves: tuple[str, ...] = ()
    audio_at_end: bool = False
    min_window_ns: int | None = None
    grid_ns: int | None = None
    honours_tempo: Honours = Honours.UNSPECIFIED
    honours_key: Honours = Honours.UNSPECIFIED
    honours_metre: Honours = Honours.UNSPECIFIED
    uses_lyrics: bool = False
    sings_vowels: bool = False
    lyric_languages: tuple[str, ...] = ()
    following_ns: int | None = None
    sampling: tuple[str, ...] = ()
    layer_tasks: tuple[int, ...] = ()
    """Numbers of LayerTask; a newer renderer may name tasks that are not known here."""
    max_takes: int = 0
