"""Sections that every renderer can be asked for: complete plans, as the planner makes them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import Chord, ChordQuality, Key, Layer, LayerKind, Metre, Mode, Motif, MotifNote, TempoPoint
from segue_music.plan import Continuity, MotifUse, Role, SectionSpec
from segue_music.timing import section_frames, ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_RATE: Final = 48_000
SECTION_ID: Final = "check"
SEED: Final = 7
METRE: Final = Metre(4, 4)
# Bars of 1.967 s: their frames are a whole number at no common rate.
TEMPO: Final = (TempoPoint(0, 122.0),)
BAR_S: Final = 4 * 60 / 122
LAYERS: Final = (LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY, LayerKind.LEAD)


def section(bars: int = 2, sample_rate: int = SAMPLE_RATE, **changes: Any) -> SectionSpec:
    """Return a section of whole bars."""
    bar = ticks_per_bar(METRE)
    spec = SectionSpec(
        SECTION_ID,
        Role.VERSE,
        bars,
        frames=section_frames(bars, METRE, TEMPO, sample_rate),
        sample_rate=sample_rate,
        metre=METRE,
        tempo_points=TEMPO,
        key=Key("C", Mode.MAJOR),
        energy=(0.6,) * bars,
        layers=tuple(Layer(kind) for kind in LAYERS),
        chords=tuple(
            Chord("CFGA"[index % 4], (ChordQuality.MAJOR, ChordQuality.MINOR)[index % 4 == 3], index * bar, bar)
            for index in range(bars)
        ),
        motif=Motif((MotifNote(0, bar // 4, 0), MotifNote(bar // 4, bar // 4, 2)), bar),
        motif_use=MotifUse.STATE,
        prompt="soft piano, bass and drums, 122 bpm, C major",
        continuity=Continuity.NONE,
    )
    return dataclasses.replace(spec, **changes)


def start_of(spec: SectionSpec, model: str = "", **given: Any) -> renderer_pb2.RenderStart:
    """Return the first message of a call."""
    fields: dict[str, Any] = {"seed": SEED, "take_key": "check-take", "attempt": 1, "owner": "check"} | given
    return renderer_pb2.RenderStart(spec=codec.section_to_message(spec), model=model, **fields)


def messages_of(
    start: renderer_pb2.RenderStart, *more: renderer_pb2.RenderSectionRequest
) -> Iterator[renderer_pb2.RenderSectionRequest]:
    """Return a call's messages."""
    return iter([renderer_pb2.RenderSectionRequest(start=start), *more])
