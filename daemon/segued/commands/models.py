"""`segued models`: lists the models that can play; its actions manage the models on this machine."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue.renderer.v1 import renderer_pb2
from segue_renderer.model_library import OWNER, PIPELINE, ModelLibrary
from segue_runtime import errors
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import CliError, ExitCode
from segued.output.model_view import size, write_models
from segued.output.terminal import console, write_line

if TYPE_CHECKING:
    import argparse

    from segue_renderer.model_library import HubModel, InstalledModel
    from segue_runtime.settings import Settings

LICENSE = "the published MusicGen weights have the licence CC BY-NC 4.0, which excludes commercial use"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    _refuse_useless_flags(arguments)
    if arguments.action:
        return _manage(settings, arguments)
    return event_loop.run(settings, _list_models(settings, arguments))


def _refuse_useless_flags(arguments: argparse.Namespace) -> None:
    action = arguments.action or ""
    useless = {
        "--revision": arguments.revision != "main" and action != "pull",
        "--audiocraft": arguments.audiocraft and action != "pull",
        "--offline": arguments.offline and action != "pull",
        "--json": arguments.json and action in {"pull", "rm", "verify"},
        "--server": bool(arguments.server) and bool(action),
    }
    for flag, is_given in useless.items():
        if is_given:
            reason = "is about the models on this machine" if flag == "--server" else "does not use it"
            raise CliError(ExitCode.USAGE, f"{flag}: segued {f'models {action}'.strip()} {reason}", "leave it out")


async def _list_models(settings: Settings, arguments: argparse.Namespace) -> int:
    async with connected(settings) as client:
        profiles = await client.models()
        statuses = {each.model: each for each in await client.model_statuses()}
    if arguments.json:
        for profile in profiles:
            status = statuses.get(profile.model, renderer_pb2.ModelStatus())
            fields = {"status": json_format.MessageToDict(status)}
            write_line(json.dumps(json_format.MessageToDict(profile) | fields))
    else:
        write_models(profiles, statuses, console(arguments.color))
    return ExitCode.OK


def _manage(settings: Settings, arguments: argparse.Namespace) -> int:
    library = ModelLibrary(settings.model_folder)
    try:
        if arguments.action == "list":
            _list_installed(library, as_json=arguments.json)
        elif arguments.action == "verify":
            _verify(library, [arguments.name] if arguments.name else [each.name for each in library.installed()])
        elif not arguments.name:
            raise CliError(ExitCode.USAGE, f"models {arguments.action}: a name is needed", "for example musicgen-small")
        elif arguments.action == "rm":
            _remove(library, arguments.name)
        else:
            _pull(library, arguments)
    except errors.InvalidRequest as error:
        raise CliError(ExitCode.USAGE, str(error)) from error
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    return ExitCode.OK


def _list_installed(library: ModelLibrary, *, as_json: bool) -> None:
    for each in library.installed():
        if as_json:
            print(json.dumps(dataclasses.asdict(each) | {"folder": str(each.folder)}))  # noqa: T201
        else:
            _print_model(each)


def _print_model(model: InstalledModel) -> None:
    print(f"{model.name:28} {size(model.size):>10}  {model.revision:12}  {model.folder}")  # noqa: T201


def _verify(library: ModelLibrary, names: list[str]) -> None:
    for name in names:
        _print_model(library.verify(name))


def _remove(library: ModelLibrary, name: str) -> None:
    freed, shared = library.remove(name)
    print(f"freed {size(freed)}")  # noqa: T201 - the command's output
    if shared:
        print(  # noqa: T201
            f"note: {size(shared)} stay in the shared cache of huggingface_hub, which other programs may use; "
            "`hf cache list` shows it, and `hf cache rm` frees it",
            file=sys.stderr,
        )


def _pull(library: ModelLibrary, arguments: argparse.Namespace) -> None:
    if arguments.offline:
        folder = library.verify(arguments.name).folder
    else:
        found = library.look_up(arguments.name, arguments.revision, as_audiocraft=arguments.audiocraft)
        # The licence is read before the download.
        print(f"note: {_license_of(found)}", file=sys.stderr)  # noqa: T201
        show = _redraw_progress if sys.stderr.isatty() else _log_finished_file
        folder = library.pull(found, show)
        print(file=sys.stderr)  # noqa: T201
    backend = "diffusion" if (folder / PIPELINE).is_file() else "audiocraft" if arguments.audiocraft else "musicgen"
    print(f"{folder}\nplay it: segued serve --renderer {backend} --model {folder.name}")  # noqa: T201


def _license_of(model: HubModel) -> str:
    if model.record.repository.startswith(f"{OWNER}/musicgen"):
        return LICENSE
    if model.record.license:
        return f"{model.record.repository} states the licence {model.record.license}; read its card before you use it"
    return f"{model.record.repository} states no licence; ask its owner before you use it"


def _redraw_progress(name: str, done: int, total: int) -> None:
    print(f"\r{name:40} {size(done):>10} of {size(total):>10}", end="", file=sys.stderr, flush=True)  # noqa: T201


def _log_finished_file(name: str, done: int, total: int) -> None:
    if done >= total:
        print(f"{name}: {size(total)}", file=sys.stderr)  # noqa: T201
