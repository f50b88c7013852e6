"""Makes a plan of a brief: reads, decides, fills. Pure: the same brief gives the same plan everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_music import codec, timing
from segue_music.plan import (
    Brief,
    Continuity,
    Groove,
    Join,
    JoinKind,
    Key,
    Kind,
    Layer,
    LayerKind,
    Metre,
    Motif,
    Neighbour,
    Origin,
    Plan,
    PlannedSection,
    Reading,
    Role,
    SectionSpec,
    TailPolicy,
    TempoPoint,
    Warning,  # noqa: A004  the contract's word
)
from segue_music.theory import MINOR_MODES, key_name
from segue_planner import form as forms
from segue_planner import harmony
from segue_planner.genres import Genre, default_genre, genres
from segue_planner.prompt import INSTRUMENTS, SAD, PromptReading, read_prompt
from segue_planner.text import clean, clip
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import Chord, ModelProfile

DEFAULT_SECONDS: Final = 60
DEFAULT_RATE: Final = 48_000
NANOSECONDS: Final = 1_000_000_000
TUNING: Final = 0.03
"""How far an unstated tempo may be moved so that the bars fit."""
WISHED_TAIL_S: Final = 1.6
MAX_STYLE_BYTES: Final = 600
"""How much of the prompt each section's own prompt repeats: 256 of them must fit into one message."""
MAX_NEGATIVE_BYTES: Final = 400_000
"""How much the sections' negative prompts may take together, for the same reason."""
LOUDEST_LUFS: Final = -14.0
QUIETEST_LUFS: Final = -20.0
CHANGES_KEY: Final = frozenset({Role.BRIDGE, Role.DEVELOPMENT})


@dataclass(frozen=True)
class Facts:
    """What was decided before the form."""

    genre: Genre
    metre: Metre
    key: Key
    quarters_per_minute: float
    tempo_is_stated: bool
    frames: int
    sample_rate: int
    kind: Kind
    seed: int


class Planner:
    """One brief on its way to a plan."""

    def __init__(self, brief: Brief, profiles: Sequence[ModelProfile] = ()) -> None:
        self._brief = brief
        self._profile = profiles[0] if profiles else None
        self._read: PromptReading = read_prompt(clean(brief.prompt))
        self._readings: list[Reading] = []
        self._warnings: list[Warning] = [Warning("prompt_contradiction", text) for text in self._read.contradictions]
        self._seed = seed_of(brief)
        self._chance = random.Random(f"segue/plan/{self._seed}")  # noqa: S311  music, not secrets

    def plan(self) -> Plan:
        """Make the plan."""
        facts = self._facts()
        tempo, bars, _ = self._fit(facts)
        self._check_form(facts, tempo, bars)
        sections = forms.build_form(bars, self._brief.form)
        self._check_texts(len(sections))
        self._note("form", " ".join(section.section_id for section in sections), self._form_origin())
        motif = harmony.make_motif(facts.metre, self._chance)
        layers = self._layers(facts.genre)
        specs = [
            self._spec(facts, tempo, section, index, sections, motif, layers) for index, section in enumerate(sections)
        ]
        tail = facts.frames - sum(spec.frames for spec in specs)
        for index in range(len(specs) - 1, len(specs) - 1 + tail, -1):
            # Sections are rounded one by one; the later ones give back what they took too much, a frame each.
            specs[index] = dataclasses.replace(specs[index], frames=specs[index].frames - 1)
        tail = max(0, tail)
        specs[-1] = dataclasses.replace(specs[-1], tail_frames=tail)
        plan = Plan(
            version=1,
            title=self._title(),
            kind=facts.kind,
            sample_rate=facts.sample_rate,
            frames=facts.frames,
            quarters_per_minute=tempo,
            metre=facts.metre,
            key=facts.key,
            genre=facts.genre.name,
            moods=self._read.moods or facts.genre.moods,
            motif=motif,
            sections=place(with_neighbours(specs), self._continuity(), self._profile),
            seed=self._seed,
            readings=tuple(self._readings),
            warnings=tuple(self._warnings),
        )
        return dataclasses.replace(plan, digest=codec.plan_digest(plan))

    # What is decided, and where it comes from.

    def _facts(self) -> Facts:
        genre = self._genre()
        metre = self._metre()
        tempo, stated = self._tempo(genre, metre)
        rate = self._brief.sample_rate or DEFAULT_RATE
        frames = self._frames(rate)
        if self._brief.metre is None and "metre" not in self._read.facts:
            metre = self._short_metre(metre, tempo, frames / rate)
        key = self._key(genre)
        found = self._read.facts.get("kind")
        kind = self._brief.kind or (Kind.LOOP if found else Kind.PIECE)
        self._note("seed", str(self._seed), Origin.CALLER if self._brief.seed is not None else Origin.DEFAULT)
        return Facts(genre, metre, key, tempo, stated, frames, rate, kind, self._seed)

    def _genre(self) -> Genre:
        if self._brief.genre:
            known = genres()
            if self._brief.genre not in known:
                raise errors.InvalidField(
                    f"brief.genre: {self._brief.genre!r} is not known; there are: {', '.join(known)}",
                    violations=[FieldViolation("brief.genre", "unknown genre", default_genre().name)],
                )
            self._note("genre", self._brief.genre, Origin.CALLER)
            said = self._read.facts.get("genre")
            if said and isinstance(said.value, Genre) and said.value.name != self._brief.genre:
                self._contradiction("genre", self._brief.genre, f"{said.words} ({said.value.name})")
            return known[self._brief.genre]
        found = self._read.facts.get("genre")
        if found and isinstance(found.value, Genre):
            self._note("genre", found.value.name, Origin.PROMPT, found.words)
            return found.value
        self._note("genre", default_genre().name, Origin.DEFAULT)
        return default_genre()

    def _metre(self) -> Metre:
        found = self._read.facts.get("metre")
        said = found.value if found and isinstance(found.value, Metre) else None
        if self._brief.metre is not None:
            if said and said != self._brief.metre:
                self._contradiction("metre", _metre_name(self._brief.metre), _metre_name(said))
            self._note("metre", _metre_name(self._brief.metre), Origin.CALLER)
            return self._brief.metre
        if said and found:
            self._note("metre", _metre_name(said), Origin.PROMPT, found.words)
            return said
        self._note("metre", "4/4", Origin.GENRE)
        return Metre(4, 4)

    def _tempo(self, genre: Genre, metre: Metre) -> tuple[float, bool]:
        """Return quarters a minute, and whether somebody stated them."""
        found = self._read.facts.get("bpm")
        said = timing.quarters_from_bpm(float(str(found.value)), metre) if found else None
        if self._brief.quarters_per_minute is not None:
            tempo = self._brief.quarters_per_minute
            if said is not None and abs(said - tempo) > 0.01:
                self._contradiction("tempo", f"{tempo:g} quarters a minute", f"{said:g}")
            self._note("tempo", _bpm_name(tempo, metre), Origin.CALLER)
            return tempo, True
        if found and said is not None:
            self._note("tempo", _bpm_name(said, metre), Origin.PROMPT, found.words)
            return said, True
        word = self._read.facts.get("tempo_word")
        if word:
            bpm, origin, words = float(str(word.value)), Origin.PROMPT, word.words
        else:
            low, high = genre.tempo_bpm
            bpm, origin, words = float(self._chance.randint(low, high)), Origin.SEED, ""
        self._note("tempo", f"about {bpm:g} bpm", origin, words)
        return timing.quarters_from_bpm(bpm, metre), False

    def _short_metre(self, metre: Metre, tempo: float, seconds: float) -> Metre:
        """For a clip shorter than a bar: a bar of as many beats as fit, when nobody asked for a metre."""
        beats = max(1, int(seconds * tempo / 60 + 1e-9))
        if beats >= metre.beats:
            return metre
        self._warnings.append(Warning("short_metre", f"the clip is shorter than a bar of 4/4: it has one of {beats}/4"))
        return Metre(beats, 4)

    def _frames(self, rate: int) -> int:
        found = self._read.facts.get("seconds")
        if self._brief.duration_ns is not None:
            nanoseconds, origin, words = self._brief.duration_ns, Origin.CALLER, ""
            if found and abs(float(str(found.value)) * NANOSECONDS - nanoseconds) > NANOSECONDS / 2:
                self._contradiction("duration", f"{nanoseconds / NANOSECONDS:g} s", f"{found.value:g} s")
        elif found:
            nanoseconds, origin, words = round(float(str(found.value)) * NANOSECONDS), Origin.PROMPT, found.words
        else:
            nanoseconds, origin, words = DEFAULT_SECONDS * NANOSECONDS, Origin.DEFAULT, ""
        self._note("duration", f"{nanoseconds / NANOSECONDS:g} s", origin, words)
        return (nanoseconds * rate + NANOSECONDS // 2) // NANOSECONDS

    def _key(self, genre: Genre) -> Key:
        found = self._read.facts.get("key")
        said = found.value if found and isinstance(found.value, Key) else None
        if self._brief.key is not None:
            if said and said != self._brief.key:
                self._contradiction("key", key_name(self._brief.key), key_name(said))
            self._note("key", key_name(self._brief.key), Origin.CALLER)
            return self._brief.key
        if said and found:
            self._note("key", key_name(said), Origin.PROMPT, found.words)
            return said
        modes = genre.modes
        sad = [mode for mode in modes if mode in MINOR_MODES]
        if SAD & set(self._read.moods) and sad:
            modes = tuple(sad)
        chosen = Key(self._chance.choice(("C", "D", "Eb", "E", "F", "G", "A", "Bb")), self._chance.choice(modes))
        self._note("key", key_name(chosen), Origin.SEED)
        return chosen

    def _layers(self, genre: Genre) -> dict[LayerKind, tuple[str, ...]]:
        layers = {kind: tuple(names) for kind, names in genre.layers.items()}
        for name, (kind, words) in self._read.instruments.items():
            present = [item for item in layers.get(kind, ()) if item in self._read.instruments]
            layers[kind] = (*present, name)
            self._note("instrument", name, Origin.PROMPT, words)
        for name in self._brief.instruments:
            kind = layer_of(name)
            layers[kind] = (*(item for item in layers.get(kind, ()) if item in self._brief.instruments), name)
            self._note("instrument", name, Origin.CALLER)
        for kind in self._brief.include_layers:
            layers.setdefault(kind, genres()["cinematic"].layers.get(kind, ()))
        for kind, words in self._read.excluded.items():
            if kind in self._brief.include_layers:
                self._contradiction("layers", f"{kind.name.lower()} included", words)
                continue
            if layers.pop(kind, None) is not None:
                self._note("layers", f"no {kind.name.lower()}", Origin.PROMPT, words)
        for kind in self._brief.exclude_layers:
            layers.pop(kind, None)
            self._note("layers", f"no {kind.name.lower()}", Origin.CALLER)
        if not layers:
            layers[LayerKind.HARMONY] = ("piano",)
            self._warnings.append(Warning("no_layers", "every layer was excluded; a piano alone plays"))
        return layers

    def _asked_for(self) -> frozenset[LayerKind]:
        """Return the parts that somebody named; they are heard at least where the piece is fullest."""
        named = {kind for kind, _ in self._read.instruments.values()} | {layer_of(n) for n in self._brief.instruments}
        return frozenset(named | set(self._brief.include_layers))

    # How the length is met.

    def _fit(self, facts: Facts) -> tuple[float, int, int]:
        """Return tempo, bars and the frames of the bars: whole bars from below, the rest is the ending's ring-out."""
        tempo = facts.quarters_per_minute
        bar = self._bar_frames(tempo, facts)
        if not facts.tempo_is_stated:
            tempo = self._tuned(facts)
            bar = self._bar_frames(tempo, facts)
        # A frame of tolerance: sections are rounded one by one.
        if facts.frames + 1 < bar:
            raise errors.LengthNotPossible(
                f"{facts.frames / facts.sample_rate:g} s is shorter than one bar of {_metre_name(facts.metre)} at "
                f"{tempo:g} quarters a minute; give it more time, or leave the tempo or the metre open",
                metadata={"longer": f"{bar / facts.sample_rate:.6f}s"},
            )
        bars = int((facts.frames + 1) / bar)
        rest = facts.frames - round(bars * bar)
        if self._brief.tail == TailPolicy.FORBID and abs(rest) > 1:
            self._refuse_tail(facts, bar, bars)
        return tempo, bars, round(bars * bar)

    def _tuned(self, facts: Facts) -> float:
        """Move an unstated tempo a little, so that the bars end shortly before the piece does."""
        wished = 0.0 if facts.kind == Kind.LOOP or self._brief.tail == TailPolicy.FORBID else WISHED_TAIL_S
        room = max(facts.frames * 0.5, facts.frames - wished * facts.sample_rate)
        bar = self._bar_frames(facts.quarters_per_minute, facts)
        best: tuple[float, float] | None = None
        for bars in range(max(1, int(room / bar) - 4), int(room / bar) + 5):
            tempo = facts.quarters_per_minute * (bars * bar / room)
            off = abs(tempo / facts.quarters_per_minute - 1)
            # Even numbers of bars make phrases; one bar more or less is worth half the allowed tuning.
            cost = off + (0 if bars % 4 == 0 else TUNING / 3 if bars % 2 == 0 else TUNING / 2)
            if (off <= TUNING or bars <= 2) and 20 <= tempo <= 400 and (best is None or cost < best[0]):
                best = (cost, tempo)
        if best is None:
            return facts.quarters_per_minute
        self._note("tempo", f"{timing.bpm_from_quarters(best[1], facts.metre):.3f} bpm, tuned", Origin.DEFAULT)
        return best[1]

    def _check_texts(self, sections: int) -> None:
        each = len(self._brief.negative_prompt.encode())
        if each * sections > MAX_NEGATIVE_BYTES:
            most = MAX_NEGATIVE_BYTES // sections
            raise errors.InvalidField(
                f"brief.negative_prompt: it stands in each of {sections} sections; at most {most} bytes fit",
                violations=[FieldViolation("brief.negative_prompt", f"at most {most} bytes", "shorten it")],
            )

    def _check_form(self, facts: Facts, tempo: float, bars: int) -> None:
        wanted = len(self._brief.form)
        if wanted > bars:
            seconds = wanted * self._bar_frames(tempo, facts) / facts.sample_rate
            raise errors.LengthNotPossible(
                f"brief.form: {wanted} sections need at least {wanted} bars, and {bars} fit; "
                f"take at least {seconds:.3f} s, or fewer sections",
                violations=[FieldViolation("brief.form", f"at most {bars} sections fit", str(bars))],
                metadata={"longer": f"{seconds:.6f}s"},
            )

    def _refuse_tail(self, facts: Facts, bar: float, bars: int) -> None:
        shorter, longer = (round(count * bar) / facts.sample_rate for count in (bars, bars + 1))
        raise errors.LengthNotPossible(
            f"{facts.frames / facts.sample_rate:g} s are not whole bars at this tempo, and a tail is forbidden; "
            f"{shorter:.6f} s or {longer:.6f} s would be",
            metadata={"shorter": f"{shorter:.6f}s", "longer": f"{longer:.6f}s"},
        )

    @staticmethod
    def _bar_frames(tempo: float, facts: Facts) -> float:
        return facts.metre.beats * 4 / facts.metre.unit * 60 / tempo * facts.sample_rate

    # What a section is given.

    def _spec(
        self,
        facts: Facts,
        tempo: float,
        section: forms.FormSection,
        index: int,
        sections: Sequence[forms.FormSection],
        motif: Motif,
        layers: dict[LayerKind, tuple[str, ...]],
    ) -> SectionSpec:
        last = index + 1 == len(sections)
        progressions = facts.genre.progressions(facts.key.mode)
        choice = 1 if section.role in CHANGES_KEY or section.role == Role.CHORUS else 0
        cadence = harmony.cadence_for(section.role, last=last and facts.kind != Kind.LOOP)
        points = (TempoPoint(0, tempo),)
        loudest = max(sections, key=lambda item: sum(item.energy) / len(item.energy))
        playing = arrange(section, layers, self._asked_for() if section is loudest else frozenset())
        mean = sum(section.energy) / len(section.energy)
        return SectionSpec(
            section_id=section.section_id,
            role=section.role,
            label=section.label,
            bars=section.bars,
            frames=timing.section_frames(section.bars, facts.metre, points, facts.sample_rate),
            sample_rate=facts.sample_rate,
            metre=facts.metre,
            tempo_points=points,
            key=facts.key,
            genre=facts.genre.name,
            energy=section.energy,
            layers=playing,
            chords=harmony.fill_chords(
                progressions[choice % len(progressions)], facts.key, facts.metre, section.bars, cadence
            ),
            cadence=cadence,
            motif=motif,
            motif_use=section.motif_use,
            groove=Groove(name=facts.genre.groove, swing=facts.genre.swing),
            transition=forms.transition(None if last else sections[index + 1].role),
            prompt=self._section_prompt(facts, tempo, section, playing),
            negative_prompt=self._brief.negative_prompt,
            sampling=self._brief.sampling,
            continuity=self._continuity(),
            target_lufs=round(QUIETEST_LUFS + (LOUDEST_LUFS - QUIETEST_LUFS) * mean, 2),
            loop=facts.kind == Kind.LOOP and len(sections) == 1,
        )

    def _section_prompt(self, facts: Facts, tempo: float, section: forms.FormSection, layers: Sequence[Layer]) -> str:
        instruments = ", ".join(name for layer in layers for name in layer.instruments)
        mean = sum(section.energy) / len(section.energy)
        level = "quiet and sparse" if mean < 0.4 else "full and driving" if mean > 0.75 else "steady"
        style = clip(clean(self._brief.prompt), MAX_STYLE_BYTES) or f"{facts.genre.name} music"
        text = (
            f"{style}. {section.label.lower()}, {level}; {instruments}; "
            f"{timing.bpm_from_quarters(tempo, facts.metre):g} bpm, {key_name(facts.key)}, {_metre_name(facts.metre)}"
        )
        return clip(text, 4096)

    def _continuity(self) -> Continuity:
        if self._brief.continuity:
            return self._brief.continuity
        possible = self._profile.continuities if self._profile else ()
        for wish in (Continuity.MOTIF, Continuity.TAIL):
            if wish in possible:
                return wish
        return Continuity.NONE

    def _title(self) -> str:
        if self._brief.title:
            return self._brief.title
        return clip(" ".join(clean(self._brief.prompt).split()[:8]).strip(",.;:"), 256)

    def _form_origin(self) -> Origin:
        return Origin.CALLER if self._brief.form else Origin.DEFAULT

    def _note(self, name: str, value: str, origin: Origin, words: str = "") -> None:
        self._readings.append(Reading(name, clip(value, 256), origin, clip(clean(words), 256)))

    def _contradiction(self, name: str, field: str, prompt: str) -> None:
        self._warnings.append(
            Warning(f"{name}_contradiction", f"the field says {field}, the prompt says {prompt}: the field is used")
        )


def seed_of(brief: Brief) -> int:
    """Return the brief's seed, or one drawn from everything else that it says."""
    if brief.seed is not None:
        return brief.seed
    content = codec.canonical_json(codec.to_message(brief, music_pb2.Brief()))
    return int.from_bytes(hashlib.sha256(b"segue/seed/" + content).digest()[:4], "big")


def arrange(
    section: forms.FormSection,
    layers: dict[LayerKind, tuple[str, ...]],
    required: frozenset[LayerKind] = frozenset(),
) -> tuple[Layer, ...]:
    """Choose who plays in a section: the more energy, the more parts."""
    mean = sum(section.energy) / len(section.energy)
    order = [LayerKind.HARMONY, LayerKind.BASS, LayerKind.RHYTHM, LayerKind.LEAD, LayerKind.TEXTURES, LayerKind.VOCALS]
    wanted = {Role.INTRO: 2, Role.OUTRO: 3, Role.BREAKDOWN: 2}.get(section.role, 3 + round(mean * 3))
    if section.role in {Role.SOLO, Role.MOTIF, Role.RESOLUTION}:
        order = [LayerKind.LEAD, *(kind for kind in order if kind != LayerKind.LEAD)]
    if section.role == Role.INTRO:
        order = [
            LayerKind.HARMONY,
            LayerKind.TEXTURES,
            LayerKind.LEAD,
            LayerKind.BASS,
            LayerKind.RHYTHM,
            LayerKind.VOCALS,
        ]
    present = [kind for kind in order if kind in layers]
    playing = set(present[: max(wanted, min(2, len(present)))]) | required
    return tuple(Layer(kind, layers[kind], round(0.6 + 0.3 * mean, 2)) for kind in sorted(playing) if kind in layers)


def layer_of(instrument: str) -> LayerKind:
    """Return the part that an instrument plays; unknown ones lead."""
    for kind, names in INSTRUMENTS.items():
        if instrument.lower() in names:
            return kind
    return LayerKind.LEAD


def with_neighbours(specs: Sequence[SectionSpec]) -> list[SectionSpec]:
    """Tell each section what stands at its borders."""
    found = []
    for index, spec in enumerate(specs):
        before = specs[index - 1] if index else None
        after = specs[index + 1] if index + 1 < len(specs) else None
        found.append(
            dataclasses.replace(
                spec,
                previous=_neighbour(before, before.chords[-1], before.energy[-1]) if before else None,
                next=_neighbour(after, after.chords[0], after.energy[0]) if after else None,
            )
        )
    return found


def _neighbour(spec: SectionSpec, chord: Chord, energy: float) -> Neighbour:
    return Neighbour(spec.role, chord, energy)


def join_kind(continuity: Continuity, profile: ModelProfile | None) -> JoinKind:
    """Return how sections meet when nobody says it: a band that reads notes is in time and rings over the border,
    where a crossfade would only blur the downbeat; so is a model that goes on from the sound before."""
    in_time = continuity == Continuity.TAIL or (profile is not None and profile.gives_notes)
    return JoinKind.HARD if in_time else JoinKind.CROSSFADE


def place(
    specs: Sequence[SectionSpec], continuity: Continuity, profile: ModelProfile | None
) -> tuple[PlannedSection, ...]:
    """Put sections one after the other."""
    placed = []
    frame = bar = 0
    for index, spec in enumerate(specs):
        waits = (specs[index - 1].section_id,) if index and continuity == Continuity.TAIL else ()
        join = Join(join_kind(continuity, profile), 1.0) if index else None
        placed.append(PlannedSection(spec, frame, bar, waits, join))
        frame += spec.frames
        bar += spec.bars
    return tuple(placed)


def _metre_name(metre: Metre) -> str:
    return f"{metre.beats}/{metre.unit}"


def _bpm_name(quarters: float, metre: Metre) -> str:
    return f"{timing.bpm_from_quarters(quarters, metre):g} bpm"
