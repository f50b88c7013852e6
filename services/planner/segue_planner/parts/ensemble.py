"""Who plays: the parts of the piece and their instruments, and which of them a section has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind
from segue_music.plan import Origin
from segue_planner.prompt.word_list.phrases import instrument_of, instruments, whole_parts
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.plan import Brief
    from segue_planner.facts.decision_log import Ledger
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import PromptReading

L = LayerKind
# What plays a part when the genre has nobody for it, or only those who are not wanted.
STAND_INS: Final[Mapping[LayerKind, tuple[str, ...]]] = {
    L.RHYTHM: ("drums", "shaker", "toms"),
    L.BASS: ("electric bass", "synth bass", "upright bass", "cello"),
    L.HARMONY: ("piano", "acoustic guitar", "organ", "pad"),
    L.LEAD: ("flute", "violin", "synth lead", "bells"),
    L.TEXTURES: ("pad", "strings", "arp"),
    L.VOCALS: ("choir", "humming"),
}
GENERIC: Final = frozenset({"melody", "chords", "textures", "beat", "singing", "keys"})
MOST_IN_LAYER: Final = 8
ENTRY_ORDER: Final[tuple[LayerKind, ...]] = (L.HARMONY, L.BASS, L.RHYTHM, L.LEAD, L.TEXTURES, L.VOCALS)
# Names that stand for several players: who of them takes which part.
ENSEMBLES: Final[Mapping[str, Mapping[LayerKind, tuple[str, ...]]]] = {
    "string quartet": {L.BASS: ("cello",), L.HARMONY: ("viola",), L.LEAD: ("violin",)},
}


@dataclass(frozen=True)
class Ensemble:
    """The parts of the whole piece."""

    layers: Mapping[LayerKind, tuple[str, ...]]
    required: frozenset[LayerKind] = frozenset()
    """Parts that somebody named: they are heard at least where the piece is fullest."""
    all_always: bool = False
    """Nothing but these plays, so there is nobody to leave out."""
    opens: Mapping[LayerKind, tuple[str, ...]] = field(default_factory=dict)
    """Who begins alone."""


class Casting:
    """Chooses the ensemble from the genre, the prompt and the caller's fields."""

    def __init__(self, brief: Brief, read: PromptReading, genre: Genre, ledger: Ledger) -> None:
        self._brief, self._read, self._genre, self._ledger = brief, read, genre, ledger
        self._layers: dict[LayerKind, tuple[str, ...]] = {kind: tuple(names) for kind, names in genre.layers.items()}
        self._wanted: dict[LayerKind, list[str]] = {}

    def ensemble(self) -> Ensemble:
        """Return who plays."""
        self._refuse_contradicting_fields()
        self._ask_for_instruments()
        only = bool(self._read.only) and not self._brief.instruments
        if only:
            self._layers = {}
            self._ledger.note("layers", "only these instruments", Origin.PROMPT, self._read.only)
        self._seat_ensembles()
        self._leave_out_unwanted()
        self._spread_wanted()
        for kind in self._brief.include_layers:
            self._layers.setdefault(kind, self._stand_in(kind))
            self._ledger.note("layers", f"with {kind.name.lower()}", Origin.CALLER)
        self._leave_out_layers()
        if not self._layers:
            kind = next(kind for kind in ENTRY_ORDER if kind not in self._brief.exclude_layers)
            self._layers[kind] = self._stand_in(kind)
            self._ledger.warn("no_layers", f"every part was left out; a {self._layers[kind][0]} alone plays")
        return Ensemble(
            layers=dict(sorted(self._layers.items())),
            required=frozenset(set(self._wanted) | set(self._brief.include_layers)) & frozenset(self._layers),
            all_always=only,
            opens=self._opening(),
        )

    def _refuse_contradicting_fields(self) -> None:
        both = sorted(set(self._brief.include_layers) & set(self._brief.exclude_layers))
        if both:
            names = ", ".join(kind.name for kind in both)
            raise errors.InvalidField(
                f"brief.exclude_layers: {names} stands in include_layers too",
                violations=[FieldViolation("brief.exclude_layers", f"{names} is included and excluded")],
            )
        if len(self._brief.exclude_layers) == len(ENTRY_ORDER):
            raise errors.InvalidField(
                "brief.exclude_layers: nobody would play",
                violations=[FieldViolation("brief.exclude_layers", "at most five parts can be left out")],
            )

    def _ask_for_instruments(self) -> None:
        """Collect the wanted instruments by part; the caller's fields win over the prompt's words."""
        for given in self._brief.instruments:
            known = instrument_of(given)
            name, kind = known or (given, L.LEAD)
            if known is None:
                self._ledger.warn("instrument_unknown", f"{given!r} is in no table; it is given the lead")
            denial = self._read.without_instruments.get(name) or (
                self._read.without_layers.get(kind) if name in whole_parts() else None
            )
            if denial:
                self._ledger.contradiction("instruments", given, denial)
            self._want(name if known and given.lower() == name else given, kind)
            self._ledger.note("instrument", given, Origin.CALLER)
        for name, said in self._read.instruments.items():
            kind = instruments()[name]
            if kind in self._brief.exclude_layers:
                self._ledger.contradiction("layers", f"no {kind.name.lower()}", said)
                continue
            self._ledger.note("instrument", name, Origin.PROMPT, said)
            if name in GENERIC:
                self._wanted.setdefault(kind, [])
                self._layers.setdefault(kind, self._stand_in(kind))
            elif not any(name in names for names in self._wanted.values()):
                self._want(name, kind)

    def _seat_ensembles(self) -> None:
        """Let the players of a named ensemble take the parts that nobody else is named for."""
        for names in list(self._wanted.values()):
            for name in names:
                self._layers |= {
                    kind: players for kind, players in ENSEMBLES.get(name, {}).items() if kind not in self._wanted
                }

    def _want(self, name: str, kind: LayerKind) -> None:
        # "No bass" and a cello: it sings instead. Named drums come although "drums" in general do not.
        if kind == L.BASS and kind in self._read.without_layers and name not in whole_parts():
            kind = L.LEAD
        self._wanted.setdefault(kind, []).append(name)

    def _leave_out_unwanted(self) -> None:
        """Replace the genre's players whom the prompt does not want: "no synth" covers the synth lead too."""
        for name, said in self._read.without_instruments.items():
            self._ledger.note("instrument", f"no {name}", Origin.PROMPT, said)
        for kind, names in list(self._layers.items()):
            kept = tuple(name for name in names if not self._is_denied(name))
            self._layers[kind] = kept or self._stand_in(kind)

    def _is_denied(self, name: str) -> bool:
        words = set(name.split())
        return any(set(denied.split()) <= words for denied in self._read.without_instruments)

    def _stand_in(self, kind: LayerKind) -> tuple[str, ...]:
        names = (*self._genre.layers.get(kind, ()), *STAND_INS[kind])
        return next(((name,) for name in names if not self._is_denied(name)), (names[0],))

    def _spread_wanted(self) -> None:
        """Give wanted instruments their parts; where two want the chords, one of them gets a part that is free."""
        taken = dict(self._wanted)
        for kind in (L.HARMONY, L.LEAD, L.TEXTURES):
            for other in (L.LEAD, L.TEXTURES, L.HARMONY):
                if len(taken.get(kind, ())) > 1 and other not in taken and other not in self._unplayed():
                    taken[other] = [taken[kind].pop()]
        for kind, names in taken.items():
            if names:
                self._layers[kind] = tuple(dict.fromkeys(names))[:MOST_IN_LAYER]
        self._wanted = taken
        self._give_the_melody()

    def _give_the_melody(self) -> None:
        """Somebody sings: alone, a piano plays chords and melody, and a cello the melody; in chamber music also."""
        alone = bool(self._read.only) and not self._brief.instruments
        chamber = self._genre.form == "sonata" and set(self._wanted) == {L.HARMONY}
        if L.LEAD in self._unplayed() or L.LEAD in self._wanted or not (alone or chamber):
            return
        if self._wanted.get(L.HARMONY):
            self._layers[L.LEAD] = (self._wanted[L.HARMONY][0],)
        elif self._wanted.get(L.TEXTURES):
            self._layers[L.LEAD] = (self._wanted[L.TEXTURES][0],)
        elif alone and self._wanted.get(L.BASS) and set(self._wanted) == {L.BASS}:
            self._layers[L.LEAD] = self._layers.pop(L.BASS)
            self._wanted = {L.LEAD: self._wanted[L.BASS]}

    def _unplayed(self) -> set[LayerKind]:
        return set(self._read.without_layers) | set(self._brief.exclude_layers)

    def _leave_out_layers(self) -> None:
        for kind, said in self._read.without_layers.items():
            if kind in self._brief.include_layers:
                self._ledger.contradiction("layers", f"{kind.name.lower()} included", said)
                continue
            # A part stays for those who were named one by one.
            if not self._wanted.get(kind):
                self._layers.pop(kind, None)
                self._wanted.pop(kind, None)
            self._ledger.note("layers", f"no {kind.name.lower()}", Origin.PROMPT, said)
        for kind in self._brief.exclude_layers:
            self._layers.pop(kind, None)
            self._wanted.pop(kind, None)
            self._ledger.note("layers", f"no {kind.name.lower()}", Origin.CALLER)

    def _opening(self) -> dict[LayerKind, tuple[str, ...]]:
        opening: dict[LayerKind, tuple[str, ...]] = {}
        for name, said in self._read.opens.items():
            kind = next((kind for kind, names in self._layers.items() if name in names), None)
            if kind is not None:
                opening[kind] = (*opening.get(kind, ()), name)
                self._ledger.note("opening", name, Origin.PROMPT, said)
        return opening
