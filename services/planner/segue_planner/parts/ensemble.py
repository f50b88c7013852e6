"""The ensemble: the layers of the whole piece and the instruments of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind
from segue_music.plan import Origin
from segue_planner.names import layer_names
from segue_planner.prompt.word_list.instruments import instruments, whole_layers
from segue_planner.prompt.word_list.words import find_instrument
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_music.plan import Brief
    from segue_planner.facts.decision_log import DecisionLog
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import PromptFacts

    Players = Mapping[LayerKind, tuple[str, ...]]
    """Layers and the instruments of each."""

L = LayerKind
# Instruments of a layer for genres that have none, or whose instruments are all excluded.
SUBSTITUTES: Final[Mapping[LayerKind, tuple[str, ...]]] = {
    L.RHYTHM: ("drums", "shaker", "toms"),
    L.BASS: ("electric bass", "synth bass", "upright bass", "cello"),
    L.HARMONY: ("piano", "acoustic guitar", "organ", "pad"),
    L.LEAD: ("flute", "violin", "synth lead", "bells"),
    L.TEXTURES: ("pad", "strings", "arp"),
    L.VOCALS: ("choir", "humming"),
}
GENERIC: Final = frozenset({"melody", "chords", "textures", "beat", "singing", "keys"})
"""Names that request a layer, but no instrument."""
MAX_IN_LAYER: Final = 8
ENTRY_ORDER: Final[tuple[LayerKind, ...]] = (L.HARMONY, L.BASS, L.RHYTHM, L.LEAD, L.TEXTURES, L.VOCALS)
# Names of several players together, with the instruments of each layer.
GROUPS: Final[Mapping[str, Mapping[LayerKind, tuple[str, ...]]]] = {
    "string quartet": {L.BASS: ("cello",), L.HARMONY: ("viola",), L.LEAD: ("violin",)},
    "string trio": {L.BASS: ("cello",), L.HARMONY: ("viola",), L.LEAD: ("violin",)},
    "piano trio": {L.BASS: ("cello",), L.HARMONY: ("piano",), L.LEAD: ("violin",)},
    "jazz trio": {L.RHYTHM: ("brush drums",), L.BASS: ("upright bass",), L.HARMONY: ("piano",), L.LEAD: ("piano",)},
    "brass quintet": {L.BASS: ("tuba",), L.HARMONY: ("french horn", "trombone"), L.LEAD: ("trumpet",)},
    "wind quintet": {L.BASS: ("bassoon",), L.HARMONY: ("clarinet", "french horn"), L.LEAD: ("flute", "oboe")},
    "saxophone quartet": {L.BASS: ("saxophone",), L.HARMONY: ("saxophone",), L.LEAD: ("saxophone",)},
    "power trio": {
        L.RHYTHM: ("drums",), L.BASS: ("electric bass",), L.HARMONY: ("electric guitar",), L.LEAD: ("electric guitar",)
    },
    "voices": {L.VOCALS: ("vocals",)},
}  # fmt: skip
WHOLE_KITS: Final = frozenset({"drums", "drum machine", "brush drums", "beat"})
"""Names of a whole drum kit, which replaces the genre's; every other drum joins it."""
CHORDAL: Final = frozenset({"music box", "marimba", "kalimba", "hang", "glockenspiel", "xylophone", "bells"})
"""Instruments of melodies that play chords too when they are alone."""


@dataclass(frozen=True)
class Ensemble:
    """The layers of the whole piece and the instruments of each."""

    layers: Players
    required: frozenset[LayerKind] = frozenset()
    """Requested layers: they play at least in the fullest section."""
    always_all: bool = False
    """The prompt excludes all other instruments, so that every layer plays in every section."""
    opens: Mapping[LayerKind, tuple[str, ...]] = field(default_factory=dict)
    """Instruments that begin the piece alone."""


class EnsembleBuilder:
    """Builds the ensemble of one piece from the genre, the prompt and the request's fields."""

    def __init__(self, brief: Brief, prompt: PromptFacts, genre: Genre, log: DecisionLog) -> None:
        self._brief, self._prompt, self._genre, self._log = brief, prompt, genre, log
        self._layers: dict[LayerKind, tuple[str, ...]] = {kind: tuple(names) for kind, names in genre.layers.items()}
        self._wanted: dict[LayerKind, list[str]] = {}
        alone = prompt.alone if not brief.genre and not brief.include_layers else ""
        self._only = "" if brief.instruments else prompt.only or alone
        self._others_excluded = bool(self._only)

    def build(self) -> Ensemble:
        """Return the ensemble; the steps depend on their order."""
        self._refuse_contradicting_fields()
        self._collect_requested_instruments()
        self._collect_stated_instruments()
        if self._others_excluded:
            self._layers = {}
            self._log.record("layers", "only these instruments", Origin.PROMPT, self._only)
        self._expand_groups()
        self._replace_denied_instruments()
        self._distribute_wanted()
        self._add_included_layers()
        self._remove_denied_layers()
        self._remove_excluded_layers()
        self._ensure_one_layer()
        return Ensemble(
            layers=dict(sorted(self._layers.items())),
            required=frozenset(set(self._wanted) | set(self._brief.include_layers)) & frozenset(self._layers),
            always_all=self._others_excluded,
            opens=self._opening(),
        )

    def _refuse_contradicting_fields(self) -> None:
        both = sorted(set(self._brief.include_layers) & set(self._brief.exclude_layers))
        if both:
            names = ", ".join(kind.name for kind in both)
            raise errors.InvalidField(
                f"brief.exclude_layers: {names} is in include_layers too",
                violations=[FieldViolation("brief.exclude_layers", f"{names} is both included and excluded")],
            )
        if len(self._brief.exclude_layers) == len(ENTRY_ORDER):
            raise errors.InvalidField(
                "brief.exclude_layers: no layer is left to play",
                violations=[FieldViolation("brief.exclude_layers", "at most five layers can be excluded")],
            )

    def _collect_requested_instruments(self) -> None:
        for requested in self._brief.instruments:
            known = find_instrument(requested)
            name, kind = (known, instruments()[known]) if known else (requested, L.LEAD)
            if known is None:
                self._log.warn("instrument_unknown", f"unknown instrument {requested!r}; it plays the lead")
            denial = self._prompt.without_instruments.get(name) or (
                self._prompt.without_layers.get(kind) if name in whole_layers() else None
            )
            if denial:
                self._log.warn_contradiction("instruments", requested, denial)
            self._want(name if known and requested.lower() == name else requested, kind)
            self._log.record("instrument", requested, Origin.CALLER)

    def _collect_stated_instruments(self) -> None:
        """Collect the prompt's instruments; the request's fields win over them."""
        for name, words in self._prompt.instruments.items():
            kind = instruments()[name]
            if kind in self._brief.exclude_layers:
                self._log.warn_contradiction("layers", f"no {layer_names([kind])}", words)
                continue
            self._log.record("instrument", name, Origin.PROMPT, words)
            if name in GROUPS and self._only:
                continue
            if name in GENERIC:
                self._wanted.setdefault(kind, [])
                self._layers.setdefault(kind, self._substitute(kind))
            elif not any(name in names for names in self._wanted.values()):
                self._want(name, kind)

    def _want(self, name: str, kind: LayerKind) -> None:
        # With "no bass", a named cello plays the lead. Named drums play although drums in general are denied.
        if kind == L.BASS and kind in self._prompt.without_layers and name not in whole_layers():
            kind = L.LEAD
        self._wanted.setdefault(kind, []).append(name)

    def _expand_groups(self) -> None:
        """Give the players of a named group the layers that no other named instrument has."""
        named = [name for names in self._wanted.values() for name in names]
        for group in [self._group()] if self._group() else named:
            self._layers |= {
                kind: players for kind, players in GROUPS.get(group, {}).items() if kind not in self._wanted
            }

    def _group(self) -> str:
        """Return the named cast, unless the request names instruments itself."""
        return "" if self._brief.instruments else self._prompt.group

    def _replace_denied_instruments(self) -> None:
        """Replace the genre's instruments that the prompt denies. "No synth" denies the synth lead too."""
        for name, words in self._prompt.without_instruments.items():
            self._log.record("instrument", f"no {name}", self._prompt.origin(words), words)
        for kind, names in list(self._layers.items()):
            kept = tuple(name for name in names if not self._is_denied(name))
            self._layers[kind] = kept or self._substitute(kind)

    def _is_denied(self, name: str) -> bool:
        words = set(name.split())
        return any(set(denied.split()) <= words for denied in self._prompt.without_instruments)

    def _substitute(self, kind: LayerKind) -> tuple[str, ...]:
        names = (*self._genre.layers.get(kind, ()), *SUBSTITUTES[kind])
        return next(((name,) for name in names if not self._is_denied(name)), (names[0],))

    def _distribute_wanted(self) -> None:
        """Give wanted instruments their layers; of two that want the same one, the second gets a free layer."""
        taken = dict(self._wanted)
        for kind in (L.HARMONY, L.LEAD, L.TEXTURES):
            for other in (L.LEAD, L.TEXTURES, L.HARMONY):
                if len(taken.get(kind, ())) > 1 and other not in taken and other not in self._unplayed():
                    taken[other] = [taken[kind].pop()]
        for kind, names in taken.items():
            if names:
                others = () if kind == L.VOCALS else GROUPS.get(self._group(), {}).get(kind, ())
                players = (*self._kit(kind, names), *names, *others)
                self._layers[kind] = tuple(dict.fromkeys(players))[:MAX_IN_LAYER]
        self._wanted = taken
        self._assign_melody()

    def _kit(self, kind: LayerKind, names: Sequence[str]) -> tuple[str, ...]:
        """Return the genre's drums, which a named drum joins: "funk with cowbell" keeps its groove."""
        is_denied = kind in self._unplayed() or self._others_excluded
        if kind != L.RHYTHM or is_denied or not WHOLE_KITS.isdisjoint(names) or self._brief.instruments:
            return ()
        return self._layers.get(kind, ())

    def _assign_melody(self) -> None:
        """Give the melody to a wanted instrument when no others play, and in chamber music.

        A piano alone plays chords and melody; a cello alone plays the melody.
        """
        alone = self._others_excluded
        chamber = self._genre.form == "sonata" and set(self._wanted) == {L.HARMONY}
        if alone and set(self._wanted) == {L.LEAD} and CHORDAL & set(self._wanted[L.LEAD]):
            self._layers[L.HARMONY] = self._layers[L.LEAD]
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
        return set(self._prompt.without_layers) | set(self._brief.exclude_layers)

    def _add_included_layers(self) -> None:
        for kind in self._brief.include_layers:
            self._layers.setdefault(kind, self._substitute(kind))
            self._log.record("layers", f"with {layer_names([kind])}", Origin.CALLER)

    def _remove_denied_layers(self) -> None:
        for kind, words in self._prompt.without_layers.items():
            if kind in self._brief.include_layers:
                self._log.warn_contradiction("layers", f"{layer_names([kind])} included", words)
                continue
            # The layer stays for instruments that are named one by one.
            if not self._wanted.get(kind):
                self._layers.pop(kind, None)
                self._wanted.pop(kind, None)
            self._log.record("layers", f"no {layer_names([kind])}", self._prompt.origin(words), words)

    def _remove_excluded_layers(self) -> None:
        for kind in self._brief.exclude_layers:
            self._layers.pop(kind, None)
            self._wanted.pop(kind, None)
            self._log.record("layers", f"no {layer_names([kind])}", Origin.CALLER)

    def _ensure_one_layer(self) -> None:
        if not self._layers:
            kind = next(kind for kind in ENTRY_ORDER if kind not in self._brief.exclude_layers)
            self._layers[kind] = self._substitute(kind)
            self._log.warn("no_layers", f"every layer was excluded; only {self._layers[kind][0]} plays")

    def _opening(self) -> dict[LayerKind, tuple[str, ...]]:
        opening: dict[LayerKind, tuple[str, ...]] = {}
        for name, words in self._prompt.opens.items():
            kind = next((kind for kind, names in self._layers.items() if name in names), None)
            if kind is not None:
                opening[kind] = (*opening.get(kind, ()), name)
                self._log.record("opening", name, Origin.PROMPT, words)
        return opening
