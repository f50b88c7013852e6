"""The lyrics that the command line names: a text file, or standard input."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segued.exits import CliError, ExitCode, print_note

if TYPE_CHECKING:
    import argparse

STANDARD_INPUT: Final = "-"
MAX_BYTES: Final = 16_384
"""The limit of the contract."""
REFUSED: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control and bidirectional characters, which the contract refuses."""
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def read_lyrics(arguments: argparse.Namespace) -> music_pb2.Lyrics | None:
    """Return the lyrics of `--lyrics` and `--lyrics-language`; None without them."""
    if not arguments.lyrics:
        if arguments.lyrics_language:
            raise CliError(ExitCode.USAGE, "--lyrics-language needs --lyrics FILE")
        return None
    if arguments.lyrics_language and not LANGUAGE.fullmatch(arguments.lyrics_language):
        raise CliError(
            ExitCode.USAGE, f"--lyrics-language {arguments.lyrics_language!r} is no language tag", "for example en"
        )
    if arguments.lyrics == arguments.plan == STANDARD_INPUT:
        raise CliError(ExitCode.USAGE, "--lyrics and --plan cannot both be standard input")
    name = "standard input" if arguments.lyrics == STANDARD_INPUT else arguments.lyrics
    text = _text(arguments.lyrics, name, quiet=arguments.quiet)
    if not text.strip():
        raise CliError(ExitCode.USAGE, f"{name}: it has no words")
    return music_pb2.Lyrics(text=text, language=arguments.lyrics_language)


def _text(source: str, name: str, *, quiet: bool) -> str:
    try:
        if source == STANDARD_INPUT:
            if sys.stdin.isatty() and not quiet:
                print_note("reading the lyrics from standard input; Ctrl-D ends it")
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{name}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise CliError(ExitCode.USAGE, f"{name}: lyrics have {MAX_BYTES >> 10} KiB at most")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(ExitCode.USAGE, f"{name}: it is not UTF-8 at byte {error.start}") from error
    text = text.replace("\r\n", "\n").replace("\t", " ")
    for number, line in enumerate(text.split("\n"), 1):
        found = REFUSED.search(line)
        if found:
            raise CliError(ExitCode.USAGE, f"{name}: line {number} has the control character U+{ord(found[0]):04X}")
    return text
