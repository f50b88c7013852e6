"""The lyrics that the command line names: a text file, or standard input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segued.exits import CliError, ExitCode
from segued.requests.text_input import STANDARD_INPUT, name_of, read_text

if TYPE_CHECKING:
    import argparse

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
    text = _words(arguments.lyrics, quiet=arguments.quiet)
    if not text.strip():
        raise CliError(ExitCode.USAGE, f"{name_of(arguments.lyrics)}: it has no words")
    return music_pb2.Lyrics(text=text, language=arguments.lyrics_language)


def _words(source: str, *, quiet: bool) -> str:
    text = read_text(source, "the lyrics", max_bytes=MAX_BYTES, quiet=quiet)
    text = text.replace("\r\n", "\n").replace("\t", " ")
    for number, line in enumerate(text.split("\n"), 1):
        found = REFUSED.search(line)
        if found:
            raise CliError(
                ExitCode.USAGE, f"{name_of(source)}: line {number} has the control character U+{ord(found[0]):04X}"
            )
    return text
