"""A base section and a change for every field of SectionSpec and RenderStart.

A field that is new in the contract needs an entry here, or a reason in exceptions.py.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import numpy as np
from tests.contract.fields import Change, put, setting

from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import (
    Chord,
    ChordQuality,
    Groove,
    Key,
    Layer,
    LayerKind,
    Metre,
    Mode,
    Motif,
    MotifNote,
    TempoPoint,
)
from segue_music.plan import Continuity, MotifUse, Neighbour, Role, SectionSpec
from segue_music.timing import section_frames, ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODEL_RATE: Final = 12_800
"""Sample rate of the tiny MusicGen checkpoint."""
GUIDE_FRAMES: Final = 8_192
INSTRUMENTS: Final = {
    LayerKind.RHYTHM: "drums", LayerKind.BASS: "electric bass", LayerKind.HARMONY: "piano", LayerKind.LEAD: "flute",
    LayerKind.TEXTURES: "pad", LayerKind.VOCALS: "choir",
}  # fmt: skip


def base_section(section_id: str = "verse", rate: int = 22_050) -> music_pb2.SectionSpec:
    """Return a complete section of two bars in which every layer plays."""
    spec = SectionSpec(
        section_id,
        Role.VERSE,
        2,
        sample_rate=rate,
        metre=Metre(4, 4),
        tempo_points=(TempoPoint(0, 160.0), TempoPoint(3840, 176.0)),
        key=Key("C", Mode.MAJOR),
        genre="pop",
        energy=(0.5, 0.6),
        layers=tuple(Layer(kind, (name,), 0.6) for kind, name in INSTRUMENTS.items()),
        chords=(
            Chord("C", ChordQuality.MAJOR, 0, 1920),
            Chord("A", ChordQuality.MINOR, 1920, 1920),
            Chord("G", ChordQuality.MAJOR, 3840, 3840),
        ),
        motif=Motif((MotifNote(0, 960, 0), MotifNote(960, 960, 2), MotifNote(1920, 1920, 4)), 3840),
        motif_use=MotifUse.STATE,
        groove=Groove("backbeat", 0.5),
        previous=Neighbour(Role.INTRO, Chord("C", ChordQuality.MAJOR, 0, 3840), 0.4),
        next=Neighbour(Role.CHORUS, Chord("F", ChordQuality.MAJOR, 0, 3840), 0.6),
        prompt="bright pop, 160 bpm",
        continuity=Continuity.MOTIF,
    )
    message = codec.section_to_message(spec)
    refit(message)
    return message


def refit(spec: music_pb2.SectionSpec) -> None:
    """Make length, energy and chords fit the bars, the metre and the tempo again."""
    found = codec.section_from_message(spec)
    assert found.metre is not None
    spec.frames = section_frames(found.bars, found.metre, found.tempo_points, found.sample_rate)
    bar = ticks_per_bar(found.metre)
    energy = [*itertools.islice(itertools.cycle(found.energy), found.bars)]
    put(spec, "energy", energy)
    del spec.chords[:]
    for index in range(found.bars):
        spec.chords.add(root="CG"[index % 2], quality=music_pb2.CHORD_QUALITY_MAJOR, start_tick=index * bar, ticks=bar)


def fitted(path: str, value: Any) -> Change:
    """Return a change of a field that others depend on."""

    def apply(spec: music_pb2.SectionSpec) -> None:
        put(spec, path, value)
        refit(spec)

    return Change(apply)


def on(base: Callable[[Any], None], path: str, value: Any) -> Change:
    """Return a change that matters only when something else is set."""
    return Change(lambda spec: put(spec, path, value), base)


def one_tempo(spec: music_pb2.SectionSpec) -> None:
    """Leave one tempo, so that a shorter bar has no tempo after its end."""
    del spec.tempo_points[1:]
    refit(spec)


def _split_chord(spec: music_pb2.SectionSpec) -> None:
    first, second = spec.chords[0], spec.chords[1]
    first.ticks -= 960
    second.start_tick -= 960
    second.ticks += 960


def _house(spec: music_pb2.SectionSpec) -> None:
    spec.genre = "house"
    spec.bars = 4
    refit(spec)


def _walking_bass(spec: music_pb2.SectionSpec) -> None:
    spec.genre = "jazz"


def _riser(spec: music_pb2.SectionSpec) -> None:
    spec.transition = music_pb2.TRANSITION_RISER


def _short_last_note(spec: music_pb2.SectionSpec) -> None:
    spec.motif.notes[-1].ticks = 240


def _no_motif(spec: music_pb2.SectionSpec) -> None:
    spec.motif_use = music_pb2.MOTIF_USE_UNSPECIFIED


def _no_continuity(spec: music_pb2.SectionSpec) -> None:
    spec.continuity = music_pb2.CONTINUITY_NONE


def _late_tempo(spec: music_pb2.SectionSpec) -> None:
    spec.tempo_points[1].start_tick = 1920
    refit(spec)


def _sung(spec: music_pb2.SectionSpec) -> None:
    """Add words whose number of syllables depends on their language."""
    spec.lyrics.text = "like home"
    spec.lyrics.lines.add(text="like home", start_tick=0, ticks=3840)


UNSUNG: Final = {
    f"lyrics.{name}": setting(f"lyrics.{name}", value)
    for name, value in (
        ("text", "la la"), ("language", "en"), ("lines.text", "la la"), ("lines.start_tick", 960), ("lines.ticks", 960),
    )
}  # fmt: skip
"""Changes for models that refuse lyrics."""
SECTION: Final[Mapping[str, Change]] = {
    "section_id": setting("section_id", "other"),
    "role": setting("role", music_pb2.ROLE_CHORUS),
    "label": setting("label", "Refrain"),
    "bars": fitted("bars", 3),
    "frames": Change(lambda spec: put(spec, "frames", spec.frames + 64)),
    "tail_frames": setting("tail_frames", 88_200),
    "sample_rate": fitted("sample_rate", 32_000),
    "metre.beats": fitted("metre.beats", 3),
    "metre.unit": Change(fitted("metre.unit", 8).apply, one_tempo),
    "tempo_points.start_tick": Change(_late_tempo),
    "tempo_points.quarters_per_minute": fitted("tempo_points.quarters_per_minute", 200.0),
    "key.tonic": setting("key.tonic", "D"),
    "key.mode": setting("key.mode", music_pb2.MODE_MINOR),
    "genre": setting("genre", "rock"),
    "energy": setting("energy", [0.9, 0.2]),
    "layers.kind": Change(lambda spec: spec.layers.pop()),
    "layers.instruments": setting("layers.instruments", ["congas"]),
    "layers.level": setting("layers.level", 1.0),
    "chords.root": setting("chords.root", "E"),
    "chords.quality": setting("chords.quality", music_pb2.CHORD_QUALITY_MINOR),
    "chords.bass": setting("chords.bass", "E"),
    "chords.start_tick": Change(_split_chord),
    "chords.ticks": Change(_split_chord),
    "cadence": setting("cadence", music_pb2.CADENCE_PLAGAL),
    "motif.notes.start_tick": setting("motif.notes.start_tick", 1440),
    "motif.notes.ticks": Change(_short_last_note),
    "motif.notes.degree": setting("motif.notes.degree", 4),
    "motif.notes.alteration": setting("motif.notes.alteration", -1),
    "motif.ticks": setting("motif.ticks", 5760),
    "motif_use": setting("motif_use", music_pb2.MOTIF_USE_DEVELOP),
    "groove.name": setting("groove.name", "shuffle"),
    "groove.swing": setting("groove.swing", 0.66),
    "groove.feel": setting("groove.feel", music_pb2.FEEL_HALF_TIME),
    "transition": setting("transition", music_pb2.TRANSITION_STOP),
    "previous.role": setting("previous.role", music_pb2.ROLE_BRIDGE),
    "previous.border_chord.root": setting("previous.border_chord.root", "D"),
    "previous.border_chord.quality": setting("previous.border_chord.quality", music_pb2.CHORD_QUALITY_MINOR),
    "previous.border_chord.bass": setting("previous.border_chord.bass", "E"),
    "previous.border_chord.start_tick": setting("previous.border_chord.start_tick", 960),
    "previous.border_chord.ticks": setting("previous.border_chord.ticks", 960),
    "previous.energy": setting("previous.energy", 1.0),
    "next.role": Change(lambda spec: put(spec, "next.role", music_pb2.ROLE_OUTRO), _house),
    "next.border_chord.root": on(_walking_bass, "next.border_chord.root", "D"),
    "next.border_chord.quality": on(_walking_bass, "next.border_chord.quality", music_pb2.CHORD_QUALITY_MINOR),
    "next.border_chord.bass": on(_walking_bass, "next.border_chord.bass", "A"),
    "next.border_chord.start_tick": on(_walking_bass, "next.border_chord.start_tick", 960),
    "next.border_chord.ticks": on(_walking_bass, "next.border_chord.ticks", 960),
    "next.energy": on(_riser, "next.energy", 1.0),
    "prompt": setting("prompt", "slow ambient drone"),
    "negative_prompt": setting("negative_prompt", "drums"),
    "sampling.temperature": setting("sampling.temperature", 2.0),
    "sampling.top_k": setting("sampling.top_k", 1),
    "sampling.top_p": setting("sampling.top_p", 0.1),
    "sampling.guidance": setting("sampling.guidance", 10.0),
    "sampling.steps": setting("sampling.steps", 20),
    "continuity": setting("continuity", music_pb2.CONTINUITY_TAIL),
    "target_lufs": setting("target_lufs", -24.0),
    "loop": setting("loop", True),
    "model": setting("model", "unknown-model"),
    "lyrics.text": on(_sung, "lyrics.text", "la la"),
    "lyrics.language": on(_sung, "lyrics.language", "en"),
    "lyrics.lines.text": on(_sung, "lyrics.lines.text", "la la"),
    "lyrics.lines.start_tick": on(_sung, "lyrics.lines.start_tick", 960),
    "lyrics.lines.ticks": on(_sung, "lyrics.lines.ticks", 1920),
    "timbre_section": setting("timbre_section", "nobody"),
}

OWN_CHANGES: Final[Mapping[str, Mapping[str, Change]]] = {
    "musicgen": {
        **UNSUNG,
        # The model has a rate of its own: only the length in seconds can change.
        "sample_rate": setting("sample_rate", 12_000),
        # All uses of the motif are one to the model.
        "motif_use": on(_no_motif, "motif_use", music_pb2.MOTIF_USE_STATE),
    },
    "audiocraft": {
        **UNSUNG,
        # The model has a rate of its own: only the length in seconds can change.
        "sample_rate": setting("sample_rate", 12_000),
        # The conductor sends the audio of the section before, or does not.
        "continuity": on(_no_continuity, "continuity", music_pb2.CONTINUITY_MOTIF),
    },
    "diffusion": {
        "sample_rate": setting("sample_rate", 12_000),
        "role": Change(lambda spec: put(spec, "role", music_pb2.ROLE_CHORUS), _sung),
        # The conductor sends the audio of the section before, or does not.
        "continuity": on(_no_continuity, "continuity", music_pb2.CONTINUITY_MOTIF),
    },
}
"""Changes that only one backend needs."""


def start_of(spec: music_pb2.SectionSpec, **more: Any) -> renderer_pb2.RenderStart:
    """Return the message that asks for a section."""
    return renderer_pb2.RenderStart(spec=spec, seed=7, take_key="take", attempt=1, **more)


def _notes() -> list[Any]:
    note = music_pb2.Note(layer=music_pb2.LAYER_KIND_LEAD, ticks=1920, pitch=61, velocity=90)
    return [renderer_pb2.RenderSectionRequest(notes=renderer_pb2.Notes(notes=[note]))]


def _audio(kind: str) -> Callable[[], list[Any]]:
    def messages() -> list[Any]:
        rng = np.random.default_rng(5)
        data = (rng.standard_normal(GUIDE_FRAMES) * 0.1).astype("<f4").tobytes()
        chunk = audio_pb2.AudioChunk(
            format=audio_pb2.AudioFormat(
                sample_rate=MODEL_RATE, channels=1, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
            ),
            frames=GUIDE_FRAMES,
            data=data,
            crc32c=google_crc32c.value(data),
        )
        message = renderer_pb2.RenderSectionRequest()
        put(message, kind, chunk)
        return [message]

    return messages


def _add_bass(start: renderer_pb2.RenderStart) -> None:
    start.layer_task = renderer_pb2.LAYER_TASK_ADD
    start.task_layer = music_pb2.LAYER_KIND_BASS
    start.mix_frames = GUIDE_FRAMES


START: Final[Mapping[str, Change]] = {
    "spec": Change(lambda start: SECTION["bars"].apply(start.spec)),
    "model": setting("model", "musicgen-unknown"),
    "seed": setting("seed", 8),
    "take_key": setting("take_key", "other"),
    "attempt": setting("attempt", 2),
    "stems": setting("stems", True),
    "notes": setting("notes", True),
    "overlap_frames": setting("overlap_frames", 4_000),
    "conditioning_frames": Change(
        lambda start: put(start, "conditioning_frames", GUIDE_FRAMES), more=_audio("conditioning")
    ),
    "following_frames": Change(lambda start: put(start, "following_frames", GUIDE_FRAMES), more=_audio("following")),
    "guide_kind": setting("guide_kind", renderer_pb2.GUIDE_TIMBRE_AUDIO),
    "guide_frames": Change(lambda start: put(start, "guide_frames", GUIDE_FRAMES), more=_audio("guide")),
    "guide_notes": Change(lambda start: put(start, "guide_notes", 1), more=_notes),
    "owner": setting("owner", "somebody"),
    "guide_band": setting("guide_band", True),
    "lease": setting("lease", "unknown"),
    "layer_task": Change(_add_bass, more=_audio("mix")),
    "task_layer": setting("task_layer", music_pb2.LAYER_KIND_BASS),
    "mix_frames": setting("mix_frames", GUIDE_FRAMES),
    "more_seeds": setting("more_seeds", [8]),
}
