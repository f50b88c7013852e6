"""Text for a terminal: control characters, lengths, and whether to use colours."""

from __future__ import annotations

import re
import sys

from rich.console import Console

CONTROL_CHARACTERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters except the line feed, and characters that change the direction of text."""


def plain(text: str) -> str:
    """Replace characters that a terminal would obey by �."""
    return CONTROL_CHARACTERS.sub("�", text)


def write_line(text: str) -> None:
    """Write a line of a command's result to standard output."""
    sys.stdout.write(plain(text) + "\n")


def clock(seconds: float) -> str:
    """Return a length as 1:02.5."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def console(color: str, *, stderr: bool = False) -> Console:
    """Return a console that follows `--color`; with "auto", the terminal and NO_COLOR decide."""
    if color == "never":
        return Console(stderr=stderr, highlight=False, color_system=None)
    if color == "always":
        return Console(stderr=stderr, highlight=False, force_terminal=True, no_color=False)
    return Console(stderr=stderr, highlight=False)
