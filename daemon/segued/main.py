"""The entry point of `segued`: parses the command line, runs the command and returns its exit code."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from segue_runtime.settings import SettingsError, set_library_defaults
from segued.exits import CliError, ExitCode, print_error
from segued.flags.parser import parser
from segued.flags.settings import settings_of
from segued.flags.suggestions import unknown_argument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def run(arguments: argparse.Namespace) -> int:
    """Run one command: the module of segued.commands that has its name."""
    settings = settings_of(arguments)
    # Set before anything imports numpy. Our matrix products are small: on a busy machine, threads that wait for each
    # other were measured up to fifty times slower. An own value of the variable wins.
    set_library_defaults(OPENBLAS_NUM_THREADS="1")
    # Our errors replace the lines that grpc writes to standard error, which are not JSON.
    set_library_defaults(GRPC_VERBOSITY="NONE")
    command = importlib.import_module(f"segued.commands.{arguments.command.replace('-', '_')}")
    code: int = command.run(settings, arguments)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    arguments, unknown = parser().parse_known_args(argv)
    color = getattr(arguments, "color", "auto")
    try:
        if unknown:
            raise unknown_argument(unknown[0], arguments.command)
        return run(arguments)
    except CliError as error:
        print_error(error.text, error.hint, color=color)
        return error.code
    except SettingsError as error:
        for problem in error.problems:
            print_error(problem, color=color)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone, for example `| head`. Python would report the closed pipe again at exit.
        sys.stderr.close()
        return ExitCode.OK
    except OSError as error:
        # A file or folder that a setting or flag names. Without a file name it is a fault of this program.
        if error.filename is None:
            raise
        print_error(f"{error.filename}: {error.strerror}", color=color)
        return ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
