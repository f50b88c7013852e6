"""How the band plays each genre: patterns, kit, reverb and levels. To add a genre, add an entry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

RHYTHM, BASS, HARMONY, LEAD, TEXTURES, VOCALS = (
    LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY, LayerKind.LEAD, LayerKind.TEXTURES, LayerKind.VOCALS,
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a genre is played."""

    kit: str = "acoustic"
    chords: str = "quarters"
    calm: str = "halves"
    """Pattern of the chords in bars of low energy."""
    bass: str = "pop"
    calm_bass: str = "hold"
    room_s: float = 1.1
    damping: float = 0.35
    echo: float = 0.0
    """Share of the lead that is sent to an echo of a dotted eighth."""
    duck: float = 0.0
    """How far the kick lowers other layers, 0 to 1."""
    crackle: float = 0.0
    drive: float = 0.0
    """Saturation of the drum bus, 0 to 1."""
    loose_ms: float = 4.0
    """Largest timing variation of the players."""
    leans_ms: Mapping[LayerKind, float] = field(default_factory=dict)
    """How far a layer plays behind the beat, or ahead of it when it is negative."""
    gains_db: Mapping[LayerKind, float] = field(default_factory=dict)
    voices: Mapping[str, str] = field(default_factory=dict)
    """Voices that replace others, for example "clean guitar" -> "drive guitar"; "lead:…" is for one layer."""
    grooves: Mapping[str, str] = field(default_factory=dict)
    """Variants of grooves, for example "rock" -> "metal"."""
    steps: float = 0.53
    """Share of the melody's intervals that are steps; passing and neighbour notes are added until it is reached."""
    builds: bool = False
    """Whether a snare roll leads into big sections."""


MACHINE_VOICES: Final = {"synth bass": "reese bass"}
ROCK_VOICES: Final = {"clean guitar": "drive guitar", "lead:clean guitar": "lead guitar"}
CHIP_VOICES: Final = {
    "lead": "pulse lead", "synth bass": "pulse bass", "pluck synth": "pulse lead", "synth chords": "pulse lead",
    "electric bass": "pulse bass", "square lead": "pulse lead",
}  # fmt: skip

STYLES: Final[Mapping[str, Style]] = {
    "lofi": Style("dusty", "lazy", "lazy", "lazy", room_s=0.9, damping=0.6, crackle=0.5, loose_ms=9.0, drive=0.4,
                  gains_db={RHYTHM: 1.0, LEAD: -1.0},
                  leans_ms={BASS: 5.0, HARMONY: 8.0, LEAD: 12.0}),
    "pop": Style("acoustic", "quarters", "ballad", "pop", room_s=1.0, echo=0.15),
    "indie": Style("acoustic", "strum", "broken", "eighths", room_s=1.5, echo=0.2, loose_ms=6.0,
                   gains_db={TEXTURES: 1.0}),
    "rock": Style("acoustic", "chug", "halves", "eighths", room_s=0.8, drive=0.4, gains_db={RHYTHM: 0.5, HARMONY: 1.0},
                  voices=ROCK_VOICES,
                  leans_ms={LEAD: 5.0}),
    "punk": Style("heavy", "drive", "drive", "eighths", "eighths", room_s=0.5, damping=0.5, drive=0.7, loose_ms=5.0,
                  gains_db={RHYTHM: -0.5, HARMONY: 1.5}, voices=ROCK_VOICES, grooves={"rock": "punk"},
                  leans_ms={BASS: -3.0, HARMONY: -3.0}),
    "metal": Style("heavy", "gallop", "broken", "gallop", room_s=0.9, drive=0.6, loose_ms=2.0,
                   gains_db={RHYTHM: 0.0, HARMONY: 2.0}, voices=ROCK_VOICES, grooves={"rock": "metal"}),
    "house": Style("machine", "stabs", "tresillo", "offbeat", room_s=1.2, echo=0.25, duck=0.55, drive=0.5, loose_ms=1.0,
                   gains_db={RHYTHM: 1.5}, builds=True),
    "disco": Style("acoustic", "funk", "quarters", "disco", room_s=1.1, echo=0.1, duck=0.2, drive=0.4, loose_ms=3.0,
                   gains_db={RHYTHM: 1.0, BASS: 1.0, TEXTURES: 1.5}, grooves={"four_on_the_floor": "disco"}),
    "techno": Style("machine", "pulse", "ostinato", "rolling", room_s=1.3, echo=0.35, duck=0.5, drive=0.8, loose_ms=0.5,
                    gains_db={RHYTHM: 2.0, HARMONY: -1.0}, grooves={"four_on_the_floor": "techno"}, builds=True),
    "trance": Style("machine", "sustain", "sustain", "offbeat", room_s=1.9, echo=0.4, duck=0.6, drive=0.5, loose_ms=0.5,
                    gains_db={RHYTHM: 2.0, LEAD: 1.0, TEXTURES: 2.0}, grooves={"four_on_the_floor": "trance"},
                    builds=True),
    "dubstep": Style("deep", "sustain", "sustain", "wobble", room_s=1.4, echo=0.25, duck=0.3, drive=0.8, loose_ms=0.5,
                     gains_db={RHYTHM: 2.5, BASS: 2.0}, voices=MACHINE_VOICES, grooves={"backbeat": "dubstep"},
                     builds=True),
    "dnb": Style("machine", "sustain", "sustain", "deep", room_s=1.3, echo=0.3, duck=0.25, drive=0.6, loose_ms=1.0,
                 gains_db={RHYTHM: 2.5, BASS: 1.0}, voices=MACHINE_VOICES, builds=True),
    "synthwave": Style("gated", "tresillo", "sustain", "octaves", room_s=1.5, echo=0.3, duck=0.2, loose_ms=1.0,
                       gains_db={RHYTHM: -1.0}, grooves={"backbeat": "gated"}),
    "chiptune": Style("chip", "run", "figure", "octaves", "octaves", room_s=0.3, damping=0.2, echo=0.2, loose_ms=0.0,
                      gains_db={HARMONY: 4.0}, voices=CHIP_VOICES, grooves={"rock": "chip"}),
    "ambient": Style("orchestral", "sustain", "sustain", "hold", room_s=3.2, damping=0.45, echo=0.45, loose_ms=8.0,
                     gains_db={TEXTURES: 1.0, LEAD: -1.0}, voices={"synth bass": "drone bass"}),
    "newage": Style("orchestral", "figure", "broken", "hold", room_s=2.8, damping=0.45, echo=0.3, loose_ms=10.0,
                    gains_db={HARMONY: 2.0}),
    "jazz": Style("acoustic", "charleston", "charleston", "walk", "two", room_s=1.0, damping=0.5, loose_ms=8.0,
                  gains_db={RHYTHM: -1.0, BASS: 1.0},
                  leans_ms={BASS: -3.0, LEAD: 12.0}),
    "bossa": Style("acoustic", "bossa", "bossa", "bossa", "bossa", room_s=0.9, damping=0.55, loose_ms=6.0,
                   gains_db={RHYTHM: -2.0, HARMONY: 1.0}, grooves={"shaker": "bossa"},
                  leans_ms={LEAD: 8.0}),
    "funk": Style("acoustic", "funk", "lazy", "funk", room_s=0.7, damping=0.5, drive=0.4, loose_ms=3.0,
                  gains_db={RHYTHM: 1.0, BASS: 1.0},
                  leans_ms={BASS: -2.0, HARMONY: -3.0}),
    "soul": Style("acoustic", "gospel", "ballad", "soul", room_s=1.1, damping=0.5, drive=0.3, loose_ms=7.0,
                  gains_db={BASS: 1.0}, grooves={"backbeat": "soul"},
                  leans_ms={BASS: 4.0, LEAD: 8.0}),
    "gospel": Style("acoustic", "gospel", "sustain", "soul", room_s=1.6, damping=0.4, loose_ms=7.0,
                    gains_db={VOCALS: 3.5, BASS: 2.5, RHYTHM: 1.0},
                  leans_ms={BASS: 3.0, VOCALS: 8.0}),
    "hiphop": Style("deep", "lazy", "lazy", "boom", room_s=0.9, damping=0.5, echo=0.2, drive=0.6, loose_ms=5.0,
                    gains_db={RHYTHM: -0.5, BASS: 1.0},
                  leans_ms={BASS: 4.0, HARMONY: 5.0, LEAD: 8.0}),
    "trap": Style("deep", "sustain", "tresillo", "boom", room_s=1.3, damping=0.4, echo=0.35, drive=0.7, loose_ms=1.0,
                  gains_db={RHYTHM: 0.5, BASS: 2.0}, grooves={"boom_bap": "trap", "backbeat": "trap"}),
    "folk": Style("acoustic", "strum", "figure", "two", "two", room_s=1.0, damping=0.5, loose_ms=7.0,
                  gains_db={RHYTHM: 1.0},
                  leans_ms={LEAD: 4.0}),
    "country": Style("acoustic", "chick", "strum", "two", "two", room_s=0.9, damping=0.5, loose_ms=6.0,
                     gains_db={RHYTHM: -1.0, HARMONY: 1.0}, grooves={"shaker": "train"},
                  leans_ms={LEAD: 5.0}),
    "celtic": Style("acoustic", "strum", "figure", "two", room_s=1.5, damping=0.4, loose_ms=5.0,
                    gains_db={RHYTHM: -1.0, LEAD: 1.0}, grooves={"shaker": "bodhran"}),
    "classical": Style("orchestral", "figure", "broken", "arco", room_s=2.2, damping=0.4, loose_ms=9.0),
    "baroque": Style("orchestral", "quarters", "broken", "walk", "two", room_s=1.8, damping=0.4, loose_ms=6.0),
    "cinematic": Style("orchestral", "ostinato", "sustain", "arco", room_s=2.8, echo=0.1, loose_ms=6.0,
                       gains_db={RHYTHM: 0.0}),
    "reggae": Style("acoustic", "skank", "skank", "dub", room_s=1.2, damping=0.5, echo=0.35, loose_ms=6.0,
                    gains_db={BASS: 2.0},
                  leans_ms={BASS: 8.0, HARMONY: 3.0}),
    "ska": Style("acoustic", "offbeats", "offbeats", "walk", "two", room_s=0.8, damping=0.5, loose_ms=5.0,
                 gains_db={HARMONY: 1.0, LEAD: 1.0}, grooves={"backbeat": "ska"},
                  leans_ms={HARMONY: -4.0}),
    "blues": Style("acoustic", "boogie", "halves", "boogie", "two", room_s=1.0, damping=0.5, loose_ms=7.0,
                   voices={"lead:clean guitar": "lead guitar"},
                  leans_ms={LEAD: 10.0}),
    "latin": Style("acoustic", "montuno", "bossa", "tumbao", "two", room_s=1.0, damping=0.45, loose_ms=4.0,
                   grooves={"shaker": "tumbao"}),
    "tango": Style("acoustic", "marcato", "halves", "tango", room_s=1.3, damping=0.5, loose_ms=6.0,
                   gains_db={HARMONY: 2.0, BASS: 1.0},
                  leans_ms={HARMONY: -3.0}),
    "afrobeat": Style("acoustic", "afrobeat", "lazy", "afrobeat", room_s=0.8, damping=0.5, loose_ms=5.0,
                      gains_db={HARMONY: 2.0}, grooves={"funk": "afrobeat"}),
}  # fmt: skip
# Patterns of chords and bass that pieces of a genre may have instead of the style's.
OTHER_CHORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "lofi": ("charleston",), "pop": ("strum", "halves"), "rock": ("drive",), "house": ("offbeats", "tresillo"),
    "disco": ("offbeats",), "synthwave": ("sustain",), "newage": ("broken",), "jazz": ("lazy",), "soul": ("ballad",),
    "hiphop": ("halves",), "folk": ("figure",), "country": ("strum",), "classical": ("broken",),
    "baroque": ("figure",), "blues": ("quarters",), "tango": ("quarters",), "indie": ("broken",),
}  # fmt: skip
OTHER_BASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "pop": ("eighths",), "indie": ("pop",), "rock": ("pop",), "house": ("octaves",), "disco": ("octaves",),
    "trance": ("rolling",), "synthwave": ("eighths",), "lofi": ("two",), "soul": ("pop",), "blues": ("walk",),
}  # fmt: skip
DEFAULT_STYLE: Final = Style()


def style_for(genre: str, piece: int = 0) -> Style:
    """Return the style of a genre, or the default style for an unknown one; the number of a piece chooses patterns."""
    style = STYLES.get(genre, DEFAULT_STYLE)
    chords = (style.chords, *OTHER_CHORDS.get(genre, ()))
    basses = (style.bass, *OTHER_BASSES.get(genre, ()))
    chosen = chords[piece % len(chords)], basses[piece // len(chords) % len(basses)]
    return replace(style, chords=chosen[0], bass=chosen[1])
