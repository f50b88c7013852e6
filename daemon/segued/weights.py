"""`segued models pull|list|rm`: the checkpoints on this machine."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from segue_renderer.model_library import Library
from segue_runtime import errors
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

LICENSE = "the published MusicGen weights are licensed CC BY-NC 4.0: not for commercial use"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run one of the actions."""
    library = Library(settings.model_folder, settings.models.hub)
    try:
        if arguments.action == "list":
            found = library.installed()
            if arguments.json:
                content = [dataclasses.asdict(each) | {"folder": str(each.folder)} for each in found]
                print(json.dumps(content, indent=2))  # noqa: T201 - the command's output
                return Exit.OK
            for each in found:
                print(f"{each.name:28} {_size(each.size):>10}  {each.revision:12}  {each.folder}")  # noqa: T201
        elif not arguments.name:
            raise Stop(Exit.USAGE, f"models {arguments.action}: which one?", "musicgen-small is one")
        elif arguments.action == "rm":
            print(f"freed {_size(library.remove(arguments.name))}")  # noqa: T201
        else:
            _pull(library, arguments)
    except errors.InvalidRequest as error:
        raise Stop(Exit.USAGE, str(error)) from error
    except errors.SegueError as error:
        raise Stop(Exit.FAILED, str(error)) from error
    return Exit.OK


def _pull(library: Library, arguments: argparse.Namespace) -> None:
    print(f"note: {LICENSE}", file=sys.stderr)  # noqa: T201
    if arguments.offline:
        folder = library.check(arguments.name)
    else:
        folder = library.pull(arguments.name, _show if sys.stderr.isatty() else _say, revision=arguments.revision)
        print(file=sys.stderr)  # noqa: T201
    print(f"{folder}\nplay it: segued serve --renderer musicgen --model {folder.name}")  # noqa: T201


def _show(name: str, done: int, total: int) -> None:
    print(f"\r{name:40} {_size(done):>10} of {_size(total):>10}", end="", file=sys.stderr, flush=True)  # noqa: T201


def _say(name: str, done: int, total: int) -> None:
    if done >= total:
        print(f"{name}: {_size(total)}", file=sys.stderr)  # noqa: T201


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count < 1 << 30 else f"{count / 2**30:.2f} GiB"
