"""Texts that the command line names: a file, or standard input for "-"."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from segued.exits import CliError, ExitCode, print_note

STANDARD_INPUT: Final = "-"


def name_of(source: str) -> str:
    """Return the name of a source for messages."""
    return "standard input" if source == STANDARD_INPUT else source


def read_text(source: str, what: str, *, max_bytes: int, quiet: bool) -> str:
    """Return the text of a file, or of standard input. `what` names the content for people."""
    name = name_of(source)
    try:
        if source == STANDARD_INPUT:
            if sys.stdin.isatty() and not quiet:
                print_note(f"reading {what} from standard input; Ctrl-D ends it")
            raw = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(max_bytes + 1)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{name}: {error.strerror}") from error
    if len(raw) > max_bytes:
        raise CliError(ExitCode.USAGE, f"{name}: {what} may have {max_bytes >> 10} KiB at most")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(ExitCode.USAGE, f"{name}: it is not UTF-8 at byte {error.start}") from error
