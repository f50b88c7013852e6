"""Fills the missing values of the sections in a caller's plan."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from segue_music import timing
from segue_music.elements import Groove, TempoPoint
from segue_music.plan import Cadence, Kind, SectionSpec
from segue_planner.names import role_name
from segue_planner.parts.arrangement import Arranger
from segue_planner.parts.cadences import choose_cadence
from segue_planner.parts.chords import choose_progression, fill_chords
from segue_planner.parts.energy import ENERGY
from segue_planner.parts.ensemble import Ensemble
from segue_planner.parts.placement import target_lufs

if TYPE_CHECKING:
    from segue_music.elements import Chord, Key, Metre, Motif
    from segue_music.plan import Plan, Role
    from segue_planner.genres.genre import Genre
    from segue_planner.parts.ensemble import Players


class SectionFiller:
    """Fills the missing values of a plan's sections, in order."""

    def __init__(self, plan: Plan, genre: Genre, rate: int, motif: Motif, players: Players) -> None:
        """`players` play in sections without layers of their own."""
        self._plan, self._genre, self._rate, self._motif = plan, genre, rate, motif
        self._arranger = Arranger(Ensemble(players), genre)

    def fill(self, spec: SectionSpec, following: Role | None) -> SectionSpec:
        """Return the section without missing values; `following` is the role of the next one."""
        plan, genre = self._plan, self._genre
        metre = spec.metre or plan.metre
        key = spec.key or plan.key
        points = spec.tempo_points or (TempoPoint(0, plan.quarters_per_minute),)
        energy = spec.energy or _default_energy(spec.role, spec.bars)
        cadence = self._cadence(spec, following)
        return dataclasses.replace(
            spec,
            label=spec.label or role_name(spec.role).capitalize(),
            frames=spec.frames or timing.section_frames(spec.bars, metre, points, self._rate),
            sample_rate=self._rate,
            metre=metre,
            tempo_points=points,
            key=key,
            genre=spec.genre or genre.name,
            energy=energy,
            layers=spec.layers or self._arranger.arrange(spec.role, energy, first=False, fullest=False),
            chords=spec.chords or self._chords(spec, key, metre, cadence),
            cadence=cadence,
            motif=spec.motif or self._motif,
            groove=spec.groove or Groove(genre.groove, genre.swing, genre.feel),
            target_lufs=target_lufs(spec.genre or genre.name, energy) if spec.target_lufs is None else spec.target_lufs,
        )

    def _cadence(self, spec: SectionSpec, following: Role | None) -> Cadence:
        """Return the section's cadence; given chords without a cadence have none."""
        if spec.cadence or spec.chords:
            return spec.cadence
        loops = self._plan.kind == Kind.LOOP
        return choose_cadence(spec.role, following, closes=self._genre.closes, loops=loops)

    def _chords(self, spec: SectionSpec, key: Key, metre: Metre, cadence: Cadence) -> tuple[Chord, ...]:
        progression = choose_progression(self._genre.progressions(key.mode), spec.role)
        return fill_chords(progression, key, metre, spec.bars, cadence, self._genre.chord_bars)


def _default_energy(role: Role, bars: int) -> tuple[float, ...]:
    start, end = ENERGY[role]
    step = (end - start) / max(1, bars - 1)
    return tuple(round(start + step * bar, 4) for bar in range(bars))
