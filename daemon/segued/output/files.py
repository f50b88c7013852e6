"""Input and output files: faults that would waste the work are found before it starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, spec_pb2
from segue_client.file_formats import SUFFIXES
from segue_music.elements import LayerKind
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from segue.composer.v1.composition_pb2 import Composition, Output
    from segue_client import Client

RESOURCES: Final = ("compositions/", "separations/", "uploads/")
NAMES: Final = ", ".join(SUFFIXES)


def existing_file(text: str) -> Path:
    """Return the path of a file that has content."""
    path = Path(text)
    if not path.is_file():
        raise CliError(ExitCode.USAGE, f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise CliError(ExitCode.USAGE, f"{path}: it is empty")
    return path


def audio_sources(texts: Sequence[str]) -> list[Path | str]:
    """Return the files that texts name, with those in folders, and names of outputs, takes and uploads as they are."""
    found: list[Path | str] = []
    for text in texts:
        path = Path(text)
        if path.is_dir():
            inner = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
            if not inner:
                raise CliError(ExitCode.USAGE, f"{path}: no audio file is in this folder", f"they end in {NAMES}")
            found += inner
        elif text.startswith(RESOURCES) and not path.exists():
            found.append(text)
        else:
            found.append(existing_file(text))
    return found


def audio_source(text: str) -> Path | str:
    """Return the one file that a text names, or the name of an output or upload as it is."""
    sources = audio_sources([text])
    if len(sources) > 1 or Path(text).is_dir():
        raise CliError(ExitCode.USAGE, f"{text}: it is a folder", "name one file")
    return sources[0]


def check_folder(folder: Path) -> None:
    """Make a folder for files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{folder}: {error.strerror}", "-o names another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CliError(ExitCode.USAGE, f"{folder}: cannot write there", "-o names another folder")


def check_targets(arguments: argparse.Namespace, *targets: Path) -> None:
    """Check that every target can be written."""
    seen: set[Path] = set()
    for target in targets:
        if target.resolve() in seen:
            raise CliError(ExitCode.USAGE, f"{target}: two files would have this name", "name another one")
        seen.add(target.resolve())
        folder = next(each for each in target.absolute().parents if each.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise CliError(ExitCode.USAGE, f"{target}: cannot write in {folder}", "-o names another place")
        if target.exists() and not arguments.force:
            raise CliError(ExitCode.USAGE, f"{target} already exists", "--force replaces it, -o names another file")


def companions(target: Path, spec: spec_pb2.CompositionSpec) -> list[Path]:
    """Return the files beside a piece. The stems are known only in part: the model decides which there are."""
    small = [target.with_suffix(suffix) for suffix, wanted in ((".mid", spec.midi), (".lrc", spec.lrc)) if wanted]
    layers = [kind.name.lower() for kind in LayerKind if kind] if spec.stems else []
    return small + [target.with_name(f"{target.stem}-{name}.wav") for name in (*layers, "draft") if spec.stems]


async def write_files(
    client: Client, composition: Composition, target: Path, arguments: argparse.Namespace
) -> list[Path]:
    """Download the outputs of a composition to the target and beside it."""
    written: list[Path] = []
    for output in composition.outputs:
        path = _path_for(output, target)
        if path is None:
            continue
        await write_output(client, output, path, arguments)
        written.append(path)
    return written


async def write_output(client: Client, output: Output, path: Path, arguments: argparse.Namespace) -> None:
    """Download one output to a file."""
    try:
        await client.download(output, path, replace=arguments.force)
    except FileExistsError:
        raise CliError(ExitCode.USAGE, f"{path} already exists", "--force replaces it") from None
    except OSError as error:
        raise CliError(ExitCode.FAILED, f"{path}: {error.strerror}") from error


def _path_for(output: Output, target: Path) -> Path | None:
    """Return the path of an output: beside the target, under its name."""
    if output.kind == composition_pb2.OUTPUT_KIND_MASTER:
        return target
    if output.kind == composition_pb2.OUTPUT_KIND_STEM:
        return target.with_name(f"{target.stem}-{output.layer}.wav")
    if output.kind == composition_pb2.OUTPUT_KIND_MIDI:
        return target.with_suffix(".mid")
    if output.kind == composition_pb2.OUTPUT_KIND_LRC:
        return target.with_suffix(".lrc")
    if output.kind == composition_pb2.OUTPUT_KIND_DRAFT:
        # The mix before mastering, which is the sum of the stems.
        return target.with_name(f"{target.stem}-draft{Path(output.name).suffix}")
    # The manifest is also in the tags of the piece.
    return None
