"""A section's plan in the words that a model was trained with. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import LayerKind, Mode
from segue_music.plan import LayerTask, Role

if TYPE_CHECKING:
    from segue_music.elements import Key
    from segue_music.plan import SectionSpec
    from segue_renderer.backend import RenderRequest

METRES: Final = (2, 3, 4, 6)
"""The beats of a bar that the model knows."""
MINOR: Final = frozenset({Mode.MINOR, Mode.DORIAN, Mode.PHRYGIAN, Mode.LOCRIAN, Mode.HARMONIC_MINOR})
MARKS: Final = {
    Role.INTRO: "intro",
    Role.VERSE: "verse",
    Role.PRE_CHORUS: "pre-chorus",
    Role.CHORUS: "chorus",
    Role.BRIDGE: "bridge",
    Role.OUTRO: "outro",
}
USUAL_MARK: Final = "verse"
TRACKS: Final = {
    LayerKind.RHYTHM: "drums",
    LayerKind.BASS: "bass",
    LayerKind.HARMONY: "keyboard",
    LayerKind.LEAD: "guitar",
    LayerKind.TEXTURES: "synth",
    LayerKind.VOCALS: "vocals",
}
"""What the model calls a layer whose instruments say nothing else."""
TRACKS_OF_INSTRUMENTS: Final = {
    "percussion": ("percussion", "conga", "bongo", "shaker", "tambourine", "djembe", "cajon"),
    "strings": ("string", "violin", "viola", "cello", "harp"),
    "brass": ("brass", "trumpet", "trombone", "horn", "tuba"),
    "woodwinds": ("flute", "clarinet", "oboe", "bassoon", "sax", "recorder", "woodwind"),
    "keyboard": ("piano", "organ", "keys", "rhodes", "harpsichord", "accordion", "celesta", "clavinet"),
    "synth": ("synth", "pad"),
    "guitar": ("guitar", "ukulele", "banjo", "mandolin", "lute"),
    "backing_vocals": ("choir", "backing"),
}
"""Words in the names of instruments, by what the model calls them."""


@dataclass(frozen=True)
class SungText:
    """Lyrics as a model takes them."""

    text: str
    language: str


@dataclass(frozen=True)
class TextConditions:
    """What the model is told about a section."""

    prompt: str
    negative_prompt: str = ""
    quarters_per_minute: float | None = None
    key: str = ""
    metre: str = ""
    lyrics: SungText | None = None
    task: LayerTask = LayerTask.UNSPECIFIED
    track: str = ""
    """What the model calls the layer of `task`."""


def conditions_of(request: RenderRequest) -> TextConditions:
    """Return what the model is told about a section."""
    spec = request.spec
    beats = spec.metre.beats if spec.metre else 0
    return TextConditions(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        quarters_per_minute=_tempo(spec),
        key=_key(spec.key) if spec.key else "",
        metre=str(beats) if beats in METRES else "",
        lyrics=_lyrics(spec),
        task=request.layer_task,
        track=_track(spec, request.task_layer) if request.layer_task else "",
    )


def _track(spec: SectionSpec, kind: LayerKind) -> str:
    """Return what the model calls a layer: by its first instrument, or by its kind."""
    names = next((layer.instruments for layer in spec.layers if layer.kind == kind), ())
    if kind == LayerKind.BASS or not names:
        return TRACKS[kind]
    name = names[0].lower()
    return next(
        (track for track, words in TRACKS_OF_INSTRUMENTS.items() if any(word in name for word in words)), TRACKS[kind]
    )


def _tempo(spec: SectionSpec) -> float | None:
    """Return the mean tempo: a model has one for all of a section."""
    if not spec.tempo_points or spec.metre is None or not spec.bars:
        return None
    ticks = spec.bars * timing.ticks_per_bar(spec.metre)
    quarters = ticks / timing.TICKS_PER_QUARTER
    return 60 * quarters / timing.tempo_map(spec).seconds(ticks)


def _key(key: Key) -> str:
    return f"{key.tonic} {'minor' if key.mode in MINOR else 'major'}"


def _lyrics(spec: SectionSpec) -> SungText | None:
    if spec.lyrics is None or not spec.lyrics.text.strip():
        return None
    mark = MARKS.get(spec.role, USUAL_MARK)
    return SungText(f"[{mark}]\n{spec.lyrics.text.strip()}", spec.lyrics.language.partition("-")[0])
