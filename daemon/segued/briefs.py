"""What the command line says, as the contract's messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segued import plans
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

DEFAULT_SECONDS: Final = 60.0
FORMATS: Final = {
    ".flac": audio_pb2.FILE_FORMAT_FLAC,
    ".wav": audio_pb2.FILE_FORMAT_WAV,
    ".ogg": audio_pb2.FILE_FORMAT_OGG_OPUS,
    ".opus": audio_pb2.FILE_FORMAT_OGG_OPUS,
    ".mp3": audio_pb2.FILE_FORMAT_MP3,
}
MODES: Final = {
    "": music_pb2.MODE_MAJOR,
    "m": music_pb2.MODE_MINOR,
    "maj": music_pb2.MODE_MAJOR,
    "min": music_pb2.MODE_MINOR,
    **{name.removeprefix("MODE_").lower(): number for name, number in music_pb2.Mode.items() if number},
}
KEY: Final = re.compile(r"\s*([A-Ga-g])\s*([#b]?)\s*([A-Za-z ]*?)\s*")
METRE: Final = re.compile(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*")
COMPOUND_BEATS: Final = frozenset({6, 9, 12})


def spec_of(arguments: argparse.Namespace) -> spec_pb2.CompositionSpec:
    """Build what the server is asked for."""
    plan_file = getattr(arguments, "plan", None)
    if not arguments.prompt and not plan_file:
        raise Stop(Exit.USAGE, "a prompt is needed", 'segued compose "rainy lo-fi, 82 bpm, F minor"')
    spec = spec_pb2.CompositionSpec(model=arguments.model)
    spec.brief.CopyFrom(brief_of(arguments))
    if plan_file:
        spec.plan.CopyFrom(plans.read(plan_file))
    spec.stems = getattr(arguments, "stems", False)
    spec.midi = getattr(arguments, "midi", False)
    spec.private_prompt = getattr(arguments, "private_prompt", False)
    return spec


def brief_of(arguments: argparse.Namespace) -> music_pb2.Brief:
    """Build the brief."""
    brief = music_pb2.Brief(
        prompt=arguments.prompt, negative_prompt=arguments.negative_prompt, genre=arguments.genre or ""
    )
    if arguments.duration is not None:
        brief.duration.FromNanoseconds(round(arguments.duration * 1e9))
    if arguments.seed is not None:
        if not 0 <= arguments.seed < 2**32:
            raise Stop(Exit.USAGE, f"--seed {arguments.seed}: it is 0 to {2**32 - 1}")
        brief.seed = arguments.seed
    if arguments.metre:
        brief.metre.CopyFrom(metre_of(arguments.metre))
    if arguments.bpm is not None:
        compound = arguments.metre and brief.metre.unit == 8 and brief.metre.beats in COMPOUND_BEATS
        brief.quarters_per_minute = arguments.bpm * (1.5 if compound else 1.0)
    if arguments.key:
        brief.key.CopyFrom(key_of(arguments.key))
    return brief


def key_of(written: str) -> music_pb2.Key:
    """Read "F minor", "f#m", "Bb" or "D dorian"."""
    match = KEY.fullmatch(written)
    mode = MODES.get(match[3].lower().replace(" ", "_")) if match else None
    if match is None or mode is None:
        raise Stop(Exit.USAGE, f"--key {written!r}: no such key", 'write "F minor", "f#m", "Bb major" or "D dorian"')
    return music_pb2.Key(tonic=match[1].upper() + match[2], mode=mode)


def metre_of(written: str) -> music_pb2.Metre:
    """Read "4/4"."""
    match = METRE.fullmatch(written)
    if match is None:
        raise Stop(Exit.USAGE, f"--metre {written!r}: write it as 4/4")
    return music_pb2.Metre(beats=int(match[1]), unit=int(match[2]))


def master_of(arguments: argparse.Namespace) -> mixer_pb2.MasterSettings | None:
    """Return how it shall be mastered; None: nothing was said about it."""
    if arguments.preset is None and arguments.lufs is None and arguments.ceiling is None:
        return None
    settings = mixer_pb2.MasterSettings()
    if arguments.preset is not None:
        settings.preset = mixer_pb2.MasterPreset.Value(f"MASTER_PRESET_{arguments.preset.upper()}")
    if arguments.lufs is not None:
        settings.target_lufs = arguments.lufs
    if arguments.ceiling is not None:
        settings.ceiling_dbtp = arguments.ceiling
    return settings


def export_of(target: Path, sample_rate: int = 0, bit_depth: int = 0) -> spec_pb2.Export:
    """Return what is to be exported for a file's ending."""
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise Stop(Exit.USAGE, f"{target}: which format is that?", f"use one of {' '.join(FORMATS)}")
    for name, value in (("--sample-rate", sample_rate), ("--bit-depth", bit_depth)):
        if not 0 <= value < 2**32:
            raise Stop(Exit.USAGE, f"{name} {value}: no file has that")
    return spec_pb2.Export(file_format=kind, sample_rate=sample_rate, bit_depth=bit_depth)
