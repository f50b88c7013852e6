"""Suggestions for arguments that no command knows."""

from __future__ import annotations

import contextlib
import difflib
import io
import re

from segue_runtime.settings import declared
from segued.exits import CliError, ExitCode
from segued.flags.parser import parser


def unknown_argument(word: str, command: str) -> CliError:
    """Return the error for an unknown argument, with the nearest flag as its hint."""
    if not word.startswith("-"):
        return CliError(
            ExitCode.USAGE, f"segued {command}: unexpected argument {word!r}", "a prompt of several words needs quotes"
        )
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        parser().parse_args([command, "--help"])
    flags = {*re.findall(r"--[a-z][a-z-]*", printed.getvalue()), *(each.flag for each in declared())}
    flag = word.partition("=")[0]
    if flag == "--token" and "--token-file" in flags:
        hint = "give it as SEGUE_CLIENT_TOKEN or --token-file: every user of this machine can see an argument"
        return CliError(ExitCode.USAGE, f"segued {command}: there is no --token", hint)
    server_flag = flag.replace("--", "--server-", 1)
    close = [server_flag] if server_flag in flags else difflib.get_close_matches(flag, sorted(flags), n=1, cutoff=0.6)
    hint = (
        f"did you mean {close[0]}?"
        if close
        else f"`segued {command} --help` lists its flags, `segued config` lists the settings"
    )
    return CliError(ExitCode.USAGE, f"segued {command}: there is no {flag}", hint)
