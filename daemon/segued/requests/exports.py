"""The files and the master that the command line asks for, as messages of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2
from segue.mixer.v1 import mixer_pb2
from segue_audio.formats import SUFFIXES
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse


def target_of(arguments: argparse.Namespace, default: str = "") -> Path:
    """Return the audio file to write; `default` is its name, without an ending, when -o is not given."""
    target = Path(arguments.output or f"{default}.{arguments.format or 'flac'}")
    named = SUFFIXES.get(target.suffix.lower())
    if arguments.format is None:
        if named is None:
            raise CliError(
                ExitCode.USAGE, f"{target}: unknown file format", f"use one of {' '.join(SUFFIXES)}, or --format"
            )
    elif named not in {None, SUFFIXES[f".{arguments.format}"]}:
        raise CliError(
            ExitCode.USAGE, f"{target}: the file's name and --format {arguments.format} differ", "leave one of them out"
        )
    return target


def export_of(target: Path, arguments: argparse.Namespace) -> spec_pb2.Export:
    """Return the export for a target."""
    suffix = f".{arguments.format}" if arguments.format else target.suffix.lower()
    for name, value in (("--sample-rate", arguments.sample_rate), ("--bit-depth", arguments.bit_depth)):
        if not 0 <= value < 2**32:
            raise CliError(ExitCode.USAGE, f"{name} {value} is out of range")
    return spec_pb2.Export(
        file_format=audio_pb2.FileFormat.Value(SUFFIXES[suffix].contract_name),
        sample_rate=arguments.sample_rate,
        bit_depth=arguments.bit_depth,
    )


def master_settings(arguments: argparse.Namespace) -> mixer_pb2.MasterSettings | None:
    """Return the settings of the master; None when no flag sets any."""
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
