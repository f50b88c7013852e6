"""Exit codes, and errors as people read them. Nothing here imports grpc: `segued --help` loads this module."""

from __future__ import annotations

import math
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from segue_runtime.settings import allows_colours

if TYPE_CHECKING:
    from segue_client import SegueError

# The contract's field violations put this between the fault and a value that works.
SUGGESTED = "; suggested: "
RED, CYAN, RESET = "\x1b[1;31m", "\x1b[36m", "\x1b[0m"
SIGNAL_BASE = 128
"""A shell reports a program that a signal ended as this number plus the signal's."""


class ExitCode(IntEnum):
    """The exit codes that scripts can rely on; a signal gives SIGNAL_BASE plus its number."""

    OK = 0
    FAILED = 1  # the composition or the work failed
    USAGE = 2  # the command line, the settings, a file that exists already
    UNREACHABLE = 3  # no server answers
    REFUSED = 4  # the server refused the request
    BUSY = 5  # the server has too much to do; a later request may succeed
    INTERRUPTED = 130  # Ctrl-C


class CliError(Exception):
    """Ends the program with an exit code, an error message and a hint."""

    def __init__(self, code: ExitCode, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint


def print_error(text: str, hint: str = "", *, color: str = "auto") -> None:
    """Write an error and its hint to standard error; `color` is auto, always or never."""
    has_colours = color == "always" or (color == "auto" and _shows_colours())
    error, tip = (f"{RED}error:{RESET}", f"{CYAN}hint:{RESET}") if has_colours else ("error:", "hint:")
    print(f"{error} {text}", file=sys.stderr)  # noqa: T201 - the program's own words
    if hint:
        print(f"{tip} {hint}", file=sys.stderr)  # noqa: T201


def _shows_colours() -> bool:
    return sys.stderr.isatty() and allows_colours()


def print_note(text: str) -> None:
    """Write a line of information to standard error."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def printable(text: str) -> str:
    """Replace control characters: an error may repeat what a stranger wrote, and a terminal would obey them."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def advice(error: SegueError) -> str:
    """Return the suggestion for a refused field; several fields have a line each, with path, fault and suggestion."""
    lines: list[tuple[str, str]] = []
    for each in error.violations:
        fault, _, suggestion = each.description.partition(SUGGESTED)
        lines.append((printable(f"{each.field}: {fault}"), printable(suggestion)))
    if len(lines) == 1 and error.message.startswith(f"{error.violations[0].field}: "):
        return f"suggested: {lines[0][1]}" if lines[0][1] else ""
    return "".join(f"\n  {fault}" + (f"\n      -> {suggestion}" if suggestion else "") for fault, suggestion in lines)


def time_to_wait(seconds: float) -> str:
    """Return a time as people wait for it: in seconds below two minutes, in minutes below two hours, then in hours."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{max(1, math.ceil(seconds / unit))} {name}"
    return f"{math.ceil(seconds / 3600)} h"


def cli_error(error: SegueError, *, accepted: bool = False) -> CliError:
    """Return the error for an answer of the server; `accepted` means that the work was accepted and failed later."""
    message, hint = printable(error.message), advice(error)
    code = error.code.name
    # The planner refuses what the gateway cannot check, such as a genre: for a script this is a refusal as well.
    if accepted and code != "INVALID_ARGUMENT":
        return CliError(ExitCode.FAILED, message, hint)
    if code == "RESOURCE_EXHAUSTED":
        wait = f"try again in {time_to_wait(error.retry_after_s)}" if error.retry_after_s else ""
        return CliError(ExitCode.BUSY, message, hint or wait)
    if code == "UNAVAILABLE":
        start = "is the server running? `segued serve` starts one; --tls connects to a server that uses TLS"
        return CliError(ExitCode.UNREACHABLE, message, hint or start)
    return CliError(ExitCode.REFUSED, message, hint)
