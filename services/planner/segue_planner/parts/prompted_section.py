"""Applies what a section's prompt says to the section: its layers, instruments, energy and feel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.elements import Groove, Layer, LayerKind
from segue_music.plan import Brief
from segue_planner.averages import mean
from segue_planner.facts.decision_log import DecisionLog
from segue_planner.parts.arrangement import FULL_ENERGY
from segue_planner.parts.energy import QUIETEST
from segue_planner.parts.ensemble import EnsembleBuilder
from segue_planner.parts.placement import target_lufs
from segue_planner.prompt.word_list.instruments import instruments, whole_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.plan import SectionSpec
    from segue_planner.genres.genre import Genre
    from segue_planner.parts.ensemble import Players
    from segue_planner.prompt.prompt_facts import Direction, PromptFacts
    from segue_planner.prompt.section_prompt import SectionFacts


QUIET: Final = (0.12, 0.4)
"""The energy of a section that a prompt calls quiet, for bars of the least and the most energy."""
LOUD: Final = (0.85, 1.0)
MAX_IN_LAYER: Final = 8
MOST_IN_PLACE: Final = 2
"""The most layers that play in place of those that enter later."""


@dataclass(frozen=True)
class StatedValues:
    """What a section states itself and keeps, whatever its prompt says."""

    layers: bool = False
    energy: bool = False
    loudness: bool = False

    @classmethod
    def of(cls, spec: SectionSpec) -> StatedValues:
        """Return what a caller's section states."""
        return cls(bool(spec.layers), bool(spec.energy), spec.target_lufs is not None)


NOTHING: Final = StatedValues()


def with_prompt(
    filled: SectionSpec, facts: SectionFacts, stated: StatedValues, piece: Players, genre: Genre, log: DecisionLog
) -> SectionSpec:
    """Return a filled section as its prompt says, and record what was read.

    `piece` are the players of the whole piece: those that rest in this section play when it becomes full.
    """
    spec = filled
    if facts.change or facts.slope:
        spec = _with_energy(spec, facts, stated, log)
    if facts.feel:
        spec = dataclasses.replace(spec, groove=dataclasses.replace(spec.groove or Groove(), feel=facts.feel.value))
        log.record_prompt(spec, "feel", facts.feel.value.name.lower().replace("_", " "), facts.feel.words)
        if all(layer.kind != LayerKind.RHYTHM for layer in spec.layers):
            log.warn_section(
                "section_prompt_contradiction", spec, f"{facts.feel.words!r} is for drums, which do not play"
            )
    rises = mean(spec.energy) > mean(filled.energy)
    base = _players(spec.layers)
    if not stated.layers and (facts.everyone or (rises and mean(spec.energy) > FULL_ENERGY)):
        base = {**piece, **base}
    if not facts.says_players:
        return spec if len(base) == len(spec.layers) else dataclasses.replace(spec, layers=_layers(spec, base))
    own = DecisionLog()
    players = players_of(facts.players, base, genre, own)
    if not stated.layers:
        log.adopt(spec, own)
        return dataclasses.replace(spec, layers=_layers(spec, players))
    if players != _players(spec.layers):
        log.warn_section(
            "section_prompt_contradiction",
            spec,
            "its prompt names other layers or instruments; its own layers are used",
        )
    return spec


def players_of(prompt: PromptFacts, base: Players, genre: Genre, log: DecisionLog) -> Players:
    """Return the players that a prompt makes of others."""
    built = EnsembleBuilder(Brief(), prompt, dataclasses.replace(genre, layers=base), log).build().layers
    drums = base.get(LayerKind.RHYTHM, ())
    if drums and not prompt.only and LayerKind.RHYTHM not in prompt.without_layers and LayerKind.RHYTHM in built:
        # A named drum joins the kit: "with a cowbell" does not silence the drums.
        built = {**built, LayerKind.RHYTHM: tuple(dict.fromkeys((*drums, *built[LayerKind.RHYTHM])))[:8]}
    return built


def _with_energy(spec: SectionSpec, facts: SectionFacts, stated: StatedValues, log: DecisionLog) -> SectionSpec:
    if stated.energy:
        log.warn_section("section_prompt_contradiction", spec, "its prompt says how full it is; its own energy is used")
        return spec
    change, slope = (each.value if each else 0.0 for each in (facts.change, facts.slope))
    step = slope / max(1, len(spec.energy) - 1)
    energy = tuple(
        round(min(1.0, max(QUIETEST, value + change - slope / 2 + step * bar)), 4)
        for bar, value in enumerate(spec.energy)
    )
    words = ", ".join(each.words for each in (facts.change, facts.slope) if each)
    log.record_prompt(spec, "energy", f"{mean(spec.energy):.2f} becomes {mean(energy):.2f}", words)
    loudness = spec.target_lufs if stated.loudness else target_lufs(spec.genre, energy)
    return dataclasses.replace(spec, energy=energy, target_lufs=loudness)


def _players(layers: Sequence[Layer]) -> Players:
    return {layer.kind: layer.instruments for layer in layers}


def _layers(spec: SectionSpec, players: Players) -> tuple[Layer, ...]:
    """Return players as layers; known layers keep their level."""
    levels = {layer.kind: layer.level for layer in spec.layers}
    usual = round(0.6 + 0.3 * mean(spec.energy), 2)
    return tuple(Layer(kind, players[kind], levels.get(kind, usual)) for kind in sorted(players))


def staged_layers(
    layers: tuple[Layer, ...],
    everyone: Players,
    genre: Genre,
    here: Sequence[Direction],
    elsewhere: Sequence[Direction],
) -> tuple[Layer, ...]:
    """Return a section's layers as the directions say: `here` hold in it, `elsewhere` in others only."""
    levels = {layer.kind: layer.level for layer in layers}
    players: dict[LayerKind, tuple[str, ...]] = {layer.kind: layer.instruments for layer in layers}
    absent = {
        name: words
        for direction in elsewhere
        if direction.enters or direction.only_there
        for name, words in direction.players.instruments.items()
    }
    # Where all players of a section enter later, others of the piece play.
    players = (
        _without(players, absent) or dict(list(_without(dict(everyone), absent).items())[:MOST_IN_PLACE]) or players
    )
    for direction in here:
        if direction.everyone:
            players = {**everyone, **players}
        stated = direction.players
        if stated.only:
            players = dict(players_of(stated, {}, genre, DecisionLog()))
            continue
        players = _with(players, stated.instruments, everyone)
        if stated.without_layers or stated.without_instruments:
            denied = {kind: names for kind, names in players.items() if kind not in stated.without_layers}
            players = _without(denied, stated.without_instruments) or players
    usual = max((level for level in levels.values() if level is not None), default=0.75)
    return tuple(
        Layer(kind, names[:MAX_IN_LAYER], levels.get(kind, usual)) for kind, names in sorted(players.items()) if names
    )


def _with(
    players: dict[LayerKind, tuple[str, ...]], names: dict[str, str], everyone: Players
) -> dict[LayerKind, tuple[str, ...]]:
    """Return players with others, who come first in their layer. A whole layer has the players of the piece."""
    found = dict(players)
    for name in names:
        kind = instruments()[name]
        if name in whole_layers():
            found.setdefault(kind, everyone.get(kind) or (name,))
            continue
        others = found.get(kind, ())
        found[kind] = tuple(dict.fromkeys((*others, name) if kind == LayerKind.RHYTHM else (name, *others)))
    return found


def _without(players: dict[LayerKind, tuple[str, ...]], names: dict[str, str]) -> dict[LayerKind, tuple[str, ...]]:
    """Return players without some; a name of a whole layer removes the layer."""
    kinds = {whole_layers()[name] for name in names if name in whole_layers()}
    found = {
        kind: tuple(each for each in players_ if not any(set(name.split()) <= set(each.split()) for name in names))
        for kind, players_ in players.items()
        if kind not in kinds
    }
    return {kind: kept for kind, kept in found.items() if kept}


def staged_energy(values: tuple[float, ...], here: Sequence[Direction]) -> tuple[float, ...]:
    """Return a section's energy as the directions say."""
    for direction in here:
        if direction.energy:
            low, high = QUIET if direction.energy == "quiet" else LOUD
            values = tuple(round(max(QUIETEST, low + (high - low) * value), 4) for value in values)
    return values
