"""Flags of `compose` and `master`: the audio file and its master."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_audio.formats import SUFFIXES, FileFormat
from segued.flags.shared import add_force
from segued.flags.values import label, seconds

if TYPE_CHECKING:
    import argparse

PRIORITIES = ("low", "normal", "high")
PRESETS = ("streaming", "broadcast", "club", "none")
FORMAT_NAMES = tuple(kind.suffix.removeprefix(".") for kind in FileFormat)
"""The usual suffix of each file format, without the dot."""


def add_audio_file(command: argparse.ArgumentParser, *, default: str = "") -> argparse._ArgumentGroup:  # pyright: ignore[reportPrivateUsage]
    """Add the flags of the audio file that a command writes; without a default name, -o is required."""
    group = command.add_argument_group("Files")
    *suffixes, last_suffix = SUFFIXES
    shown = f" [default: {default}]" if default else ""
    group.add_argument(
        "-o", "--output", metavar="FILE", required=not default,
        help=f"File to write: {', '.join(suffixes)} or {last_suffix}{shown}",
    )  # fmt: skip
    add_force(group)
    group.add_argument(
        "--format", metavar="FORMAT", choices=FORMAT_NAMES,
        help=f"File format; the default is the one of the file's name [values: {', '.join(FORMAT_NAMES)}]",
    )  # fmt: skip
    group.add_argument(
        "--sample-rate", type=int, default=0, metavar="HZ", help="Sample rate of the file, 22050 to 96000"
    )
    group.add_argument(
        "--bit-depth", type=int, default=0, metavar="BITS",
        help="Bits per sample: 16, 24 or 32 (WAV only) [default: 24]",
    )  # fmt: skip
    group.add_argument(
        "--preset", metavar="PRESET", choices=PRESETS,
        help="Loudness and sound of the master: streaming, broadcast, club or none [default: streaming]",
    )  # fmt: skip
    group.add_argument("--lufs", type=float, metavar="LUFS", help="Integrated loudness instead of the preset's")
    group.add_argument("--ceiling", type=float, metavar="DBTP", help="Highest true peak instead of the preset's")
    return group


def add_composition(command: argparse.ArgumentParser) -> None:
    """Add the flags that only `compose` has."""
    group = add_audio_file(command, default="song.flac")
    group.add_argument("--stems", action="store_true", help="Also write one file for each layer")
    group.add_argument("--midi", action="store_true", help="Also write a MIDI file")
    group.add_argument("--lrc", action="store_true", help="Also write the words with their times as an LRC file")
    group.add_argument("--picture", metavar="FILE", help="Also draw waveform and spectrogram as a PNG file")
    group.add_argument("--private-prompt", action="store_true", help="Keep prompt and lyrics out of the files' tags")
    work = command.add_argument_group("Work")
    work.add_argument(
        "--from", dest="source", metavar="FILE",
        help="Make the piece in this file again: Segue's files contain how they were made",
    )  # fmt: skip
    work.add_argument(
        "--melody", metavar="FILE|band",
        help="Melody to follow, for melody models: an audio file, or `band` for the sketch band's tune",
    )  # fmt: skip
    work.add_argument(
        "--timbre", metavar="FILE|first",
        help="Sound to imitate, for models that can: an audio file, or `first` for that of the first section",
    )  # fmt: skip
    work.add_argument(
        "--allow-degraded", action="store_true",
        help="Accept a lesser result than asked; the output says what is missing",
    )  # fmt: skip
    work.add_argument(
        "--tempo-within", type=float, metavar="PERCENT",
        help="Render a section again with another seed if its tempo is further from the plan than this",
    )  # fmt: skip
    work.add_argument(
        "--same-key", action="store_true",
        help="Render a section again if its key is neither the planned one nor its relative",
    )  # fmt: skip
    work.add_argument(
        "--level-within", type=float, metavar="LU",
        help="Render a section again if its loudness in the draft is further from the plan than this",
    )  # fmt: skip
    work.add_argument(
        "--redos", type=int, metavar="COUNT",
        help="How often a section is rendered again for these bounds, 1 to 8 [default: 2]",
    )  # fmt: skip
    work.add_argument(
        "--priority", metavar="PRIORITY", choices=PRIORITIES,
        help="Place in the queue: what can start with a higher one starts first [values: low, normal, high]",
    )  # fmt: skip
    work.add_argument(
        "--time-limit", type=seconds, metavar="TIME", help="Longest time that the work may take, for example 10m"
    )
    work.add_argument(
        "--label", type=label, action="append", default=[], metavar="KEY=VALUE",
        help="Label of your own, for example album=rain; may be repeated",
    )  # fmt: skip
    work.add_argument("--session", metavar="NAME", default="", help="Group this composition with others")
