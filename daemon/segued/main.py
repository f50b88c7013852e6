"""The command line of `segued`: from the words that were typed to the command and its exit code."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import sys
from typing import TYPE_CHECKING

from segue_runtime.settings import Settings, SettingsError, declared, load, set_library_defaults
from segued.exits import Exit, Stop, say_error
from segued.flags import parser, refuse_beside_models

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load the settings; a command's own flags for them count as flags."""
    keys = {each.key for each in declared()}
    flags = {key: value for key, value in vars(arguments).items() if key in keys and value is not None}
    if arguments.command == "serve":
        if arguments.role:
            flags["server.role"] = arguments.role
        if arguments.renderer:
            flags["renderer.backend"] = arguments.renderer
        if arguments.insecure:
            flags["server.insecure"] = "true"
        if arguments.listen:
            role = arguments.role or "all"
            flags[f"{'gateway' if role == 'all' else role}.listen"] = arguments.listen
    elif arguments.command == "replay":
        if arguments.listen:
            flags["gateway.listen"] = arguments.listen
    elif getattr(arguments, "server", None):
        flags["client.server"] = arguments.server
    settings = load(flags)
    if arguments.command == "serve" and arguments.model:
        return load(flags | {_model_key(settings, keys): arguments.model})
    return settings


def _model_key(settings: Settings, keys: set[str]) -> str:
    """Return the setting that `serve --model` stands for: the model of the chosen backend."""
    key = f"renderer.{settings.renderer.backend}.model"
    if key not in keys:
        raise Stop(
            Exit.USAGE, f"--model: the backend {settings.renderer.backend} has no model", "add --renderer musicgen"
        )
    return key


def run(arguments: argparse.Namespace) -> int:
    """Run one command."""
    settings = settings_of(arguments)
    # Before anything imports numpy: our matrix products are small, and with threads that wait for each other on a busy
    # machine they were measured up to fifty times slower. Whoever knows better sets the variable.
    set_library_defaults(OPENBLAS_NUM_THREADS="1")
    # grpc's own lines on standard error say what our errors say better, and are no JSON.
    set_library_defaults(GRPC_VERBOSITY="NONE")
    if arguments.command == "serve":
        from segued import serve

        return serve.run(settings)
    if arguments.command == "replay":
        from segued import replay

        return replay.run(settings, arguments)
    if arguments.command == "health":
        from segued import health

        return health.run(settings, arguments.address)
    if arguments.command in {"config", "version"}:
        from segued import about

        return about.config(settings, arguments) if arguments.command == "config" else about.version(arguments)
    if arguments.command == "models":
        refuse_beside_models(arguments)
    if arguments.command == "models" and arguments.action:
        from segued import weights

        return weights.run(settings, arguments)
    from segued import commands

    return commands.run(settings, arguments)


def _unknown(word: str, command: str) -> Stop:
    """Say what the word that nobody knows may have been meant to be."""
    if not word.startswith("-"):
        return Stop(
            Exit.USAGE, f"segued {command}: {word!r} is one word too many", "a prompt of several words needs quotes"
        )
    helped = contextlib.redirect_stdout(io.StringIO())
    with helped as printed, contextlib.suppress(SystemExit):
        parser().parse_args([command, "--help"])
    flags = {*re.findall(r"--[a-z][a-z-]*", printed.getvalue()), *(each.flag for each in declared())}
    asked = word.partition("=")[0]
    own = asked.replace("--", "--server-", 1)
    close = [own] if own in flags else difflib.get_close_matches(asked, sorted(flags), n=1, cutoff=0.6)
    hint = (
        f"did you mean {close[0]}?"
        if close
        else f"`segued {command} --help` lists its flags, `segued config` the settings"
    )
    return Stop(Exit.USAGE, f"segued {command}: there is no {word.partition('=')[0]}", hint)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    top = parser()
    arguments, unknown = top.parse_known_args(argv)
    try:
        if unknown:
            raise _unknown(unknown[0], arguments.command)
        return run(arguments)
    except Stop as stop:
        if stop.text:
            say_error(stop.text, stop.hint)
        return stop.code
    except SettingsError as error:
        for problem in error.problems:
            say_error(problem)
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, such as `| head`; Python would complain once more at its end.
        sys.stderr.close()
        return Exit.OK
    except OSError as error:
        # A folder or file of this machine that a setting or flag names; without a name it is a fault of ours.
        if error.filename is None:
            raise
        say_error(f"{error.filename}: {error.strerror}")
        return Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
