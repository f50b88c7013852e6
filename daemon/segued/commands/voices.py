"""`segued voices`: builds, lists and removes voice packs, and finds the fonts that they are built from."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue_renderer.sketch.sampled.build import build_pack
from segue_renderer.sketch.sampled.library import VoiceLibrary, find_fonts
from segue_renderer.sketch.sampled.pack import write_pack
from segue_runtime import errors
from segued.exits import CliError, ExitCode, print_note
from segued.output.model_view import size
from segued.output.terminal import plain, write_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from segue_renderer.sketch.sampled.library import FoundFont, InstalledPack
    from segue_runtime.settings import Settings

BAR: Final = 30
GET_A_FONT: Final = "for example `apt install fluid-soundfont-gm`, which is under the MIT licence"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    _refuse_useless_flags(arguments)
    library = VoiceLibrary(settings.voice_folder)
    action: Callable[[VoiceLibrary, argparse.Namespace], None] = {
        "build": _build,
        "list": _list,
        "remove": _remove,
        "find": _find,
    }[arguments.action]
    try:
        action(library, arguments)
    except errors.InvalidRequest as error:
        raise CliError(ExitCode.USAGE, str(error)) from error
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    return ExitCode.OK


def _refuse_useless_flags(arguments: argparse.Namespace) -> None:
    action = arguments.action
    needs_target = action in {"build", "remove"}
    if needs_target and not arguments.target:
        what = "font: a file with the ending .sf2 or .sf3" if action == "build" else "pack: `segued voices list`"
        raise CliError(ExitCode.USAGE, f"voices {action}: a {'font' if action == 'build' else 'name'} is needed", what)
    useless = {
        arguments.target: bool(arguments.target) and not needs_target,
        "--name": bool(arguments.name) and action != "build",
        "--license": bool(arguments.license) and action != "build",
        "--force": arguments.force and action != "build",
    }
    for flag, is_given in useless.items():
        if is_given:
            raise CliError(ExitCode.USAGE, f"{flag}: segued voices {action} does not use it", "leave it out")


def _build(library: VoiceLibrary, arguments: argparse.Namespace) -> None:
    font = Path(arguments.target)
    name = arguments.name or re.sub(r"[^A-Za-z0-9_.-]+", "-", font.stem).strip("-.")[:64]
    path = library.path_of(name)
    if path.exists() and not arguments.force:
        raise CliError(ExitCode.USAGE, f"{path} exists", "--force replaces it, --name NAME makes another pack")
    is_drawn = sys.stderr.isatty() and not arguments.json
    pack = build_pack(font, name, arguments.license, _draw_bar if is_drawn else lambda _done, _total: None)
    if is_drawn:
        print(file=sys.stderr)  # noqa: T201
    try:
        write_pack(pack, path)
    except OSError as error:
        if errors.is_disk_full(error):
            raise errors.StorageFull(f"{path}: the disk is full; free some space and build again") from error
        raise
    built = library.opened(path)
    if arguments.json:
        write_line(json.dumps(_fields(built)))
        return
    _write_pack_line(built)
    write_line(f'play it: segued compose "calm piano" --voices {name} -o piano.flac')
    if built.credits.text:
        print_note(f"credits of the font: {_one_line(built.credits.text)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]


def _list(library: VoiceLibrary, arguments: argparse.Namespace) -> None:
    packs = library.installed()
    for each in packs:
        if arguments.json:
            write_line(json.dumps(_fields(each)))
        else:
            _write_pack_line(each)
    if not packs and not arguments.json:
        print_note(
            "no voice packs; `segued voices find` looks for fonts, `segued voices build FONT` makes a pack of one"
        )


def _remove(library: VoiceLibrary, arguments: argparse.Namespace) -> None:
    freed = library.remove(arguments.target)
    write_line(json.dumps({"freed_bytes": freed}) if arguments.json else f"freed {size(freed)}")


def _find(_library: VoiceLibrary, arguments: argparse.Namespace) -> None:
    fonts = find_fonts()
    for each in fonts:
        if arguments.json:
            write_line(json.dumps({
                "path": str(each.path), "bytes": each.size, "name": each.name, "presets": each.num_presets,
                "fault": each.fault,
            }))  # fmt: skip
        else:
            _write_font_line(each)
    if not fonts:
        raise CliError(ExitCode.FAILED, "no SoundFont was found where systems keep them", GET_A_FONT)


def _write_pack_line(pack: InstalledPack) -> None:
    if pack.fault:
        write_line(f"{pack.name:28} {size(pack.size):>10}  cannot be used: {pack.fault}")
        return
    write_line(
        f"{pack.name:28} {size(pack.size):>10}  {pack.num_programs:3} programs  {pack.credits.license:14} "
        f"{pack.digest[:12]}  {pack.path}"
    )


def _write_font_line(font: FoundFont) -> None:
    about = font.fault or f"{font.num_presets} presets  {font.name}"
    write_line(f"{font.path}  {size(font.size)}  {about}")


def _fields(pack: InstalledPack) -> dict[str, object]:
    return {
        "name": pack.name, "path": str(pack.path), "bytes": pack.size, "digest": pack.digest,
        "programs": pack.num_programs, "license": pack.credits.license, "font": pack.credits.font,
        "font_sha256": pack.credits.font_sha256, "credits": plain(pack.credits.text), "fault": pack.fault,
    }  # fmt: skip


def _draw_bar(done: int, total: int) -> None:
    filled = BAR * done // max(1, total)
    print(f"\r[{'#' * filled:{BAR}}] {100 * done // max(1, total):3} %", end="", file=sys.stderr, flush=True)  # noqa: T201
