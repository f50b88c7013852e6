"""Exit codes, and errors as people read them. Imports nothing that is slow: `segued --help` passes here."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue_client import SegueError

# Between what is wrong and what would do, in the descriptions of the contract's field violations.
SUGGESTED = "; suggested: "


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    FAILED = 1  # the composition failed
    USAGE = 2  # the command line, the settings, an output that is there already
    UNREACHABLE = 3  # no server answers
    REFUSED = 4  # the server refused the request
    BUSY = 5  # the server has too much to do; later it may do it
    INTERRUPTED = 130


class Stop(Exception):  # noqa: N818 - not always an error
    """End the program with a code and, if there is something to say, a text and a hint."""

    def __init__(self, code: Exit, text: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint


def say_error(text: str, hint: str = "") -> None:
    """Write an error and what to do about it on standard error."""
    print(f"error: {text}", file=sys.stderr)  # noqa: T201 - a program's own words
    if hint:
        print(f"hint: {hint}", file=sys.stderr)  # noqa: T201


def say_note(text: str) -> None:
    """Write what one should know, on standard error."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def printable(text: str) -> str:
    """Return a text that a terminal can show without obeying it: an error may repeat what a stranger wrote."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def advice(error: SegueError) -> str:
    """Return what would do for a refused field; for several, each with its path and fault on lines of its own."""
    said = []
    for each in error.violations:
        wrong, _, cure = each.description.partition(SUGGESTED)
        said.append((printable(f"{each.field}: {wrong}"), printable(cure)))
    if len(said) == 1 and error.message.startswith(f"{error.violations[0].field}: "):
        return f"suggested: {said[0][1]}" if said[0][1] else ""
    return "".join(f"\n  {wrong}" + (f"\n      -> {cure}" if cure else "") for wrong, cure in said)


def stop_for(error: SegueError, *, begun: bool = False) -> Stop:
    """Return how a program ends for an error of the server; `begun`: a composition was accepted and then failed."""
    message, hint = printable(error.message), advice(error)
    code = error.code.name
    if code == "RESOURCE_EXHAUSTED":
        wait = f"try again in {error.retry_after_s:g} s" if error.retry_after_s else "try again later"
        return Stop(Exit.BUSY, message, hint or wait)
    # A request may be refused as late as by the planner, which knows the genres: to a script that is the same.
    if begun and code != "INVALID_ARGUMENT":
        return Stop(Exit.FAILED, message, hint)
    if code == "UNAVAILABLE":
        running = "is the server running? `segued serve` starts one; one that speaks TLS is called with --tls"
        return Stop(Exit.UNREACHABLE, message, hint or running)
    return Stop(Exit.REFUSED, message, hint)
