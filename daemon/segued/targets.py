"""The files that a command reads and writes: what would spoil the work is found before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from segue.composer.v1 import composition_pb2, spec_pb2
from segue_music.elements import LayerKind
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    import argparse

    from segue.composer.v1.composition_pb2 import Composition, Output
    from segue_client import Client


def existing_file(written: str) -> Path:
    """Return a file that has content."""
    path = Path(written)
    if not path.is_file():
        raise Stop(Exit.USAGE, f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise Stop(Exit.USAGE, f"{path}: it is empty")
    return path


def check_targets(arguments: argparse.Namespace, *targets: Path) -> None:
    """Find out before the work what would spoil it at its end."""
    taken: set[Path] = set()
    for target in targets:
        if target.resolve() in taken:
            raise Stop(Exit.USAGE, f"{target}: two files would have this name", "name another one")
        taken.add(target.resolve())
        folder = next(each for each in target.absolute().parents if each.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise Stop(Exit.USAGE, f"{target}: nothing can be written in {folder}", "-o names another place")
        if target.exists() and not arguments.force:
            raise Stop(Exit.USAGE, f"{target} is there already", "--force replaces it, -o names another file")


def beside(target: Path, spec: spec_pb2.CompositionSpec) -> list[Path]:
    """Return what is written beside a piece, as far as it is known before its model says which stems it has."""
    midi = [target.with_suffix(".mid")] if spec.midi else []
    layers = [kind.name.lower() for kind in LayerKind if kind] if spec.stems else []
    return midi + [target.with_name(f"{target.stem}-{name}.wav") for name in (*layers, "draft") if spec.stems]


async def write_files(
    client: Client, composition: Composition, target: Path, arguments: argparse.Namespace
) -> list[Path]:
    """Download what was made, beside the target."""
    written = []
    for output in composition.outputs:
        path = _path_for(output, target)
        if path is None:
            continue
        try:
            await client.download(output, path, replace=arguments.force)
        except FileExistsError:
            raise Stop(Exit.USAGE, f"{path} is there already", "--force replaces it") from None
        except OSError as error:
            raise Stop(Exit.FAILED, f"{path}: {error.strerror}") from error
        written.append(path)
    return written


def _path_for(output: Output, target: Path) -> Path | None:
    """Return where an output belongs: all beside the piece, under its name."""
    if output.kind == composition_pb2.OUTPUT_KIND_MASTER:
        return target
    if output.kind == composition_pb2.OUTPUT_KIND_STEM:
        return target.with_name(f"{target.stem}-{output.layer}.wav")
    if output.kind == composition_pb2.OUTPUT_KIND_MIDI:
        return target.with_suffix(".mid")
    if output.kind == composition_pb2.OUTPUT_KIND_DRAFT:
        # The mix before mastering: what the stems add up to.
        return target.with_name(f"{target.stem}-draft{Path(output.name).suffix}")
    # The manifest is in the piece's own tags as well.
    return None
