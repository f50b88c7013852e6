"""`segued` and `segue` use one vocabulary: shared commands have the same flags, help texts and exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[2] / "clients" / "rust" / "target"
SHARED_COMMANDS = ("compose", "plan", "analyze", "master", "separate", "models", "usage", "list", "cancel")
# Flags that one program alone has, with the reason; (command, flag) where the other commands share it.
ONLY_SEGUE = {
    "--play": "Python has no audio output",
    "--keep-draft": "segued writes files only when they are complete; the draft is a stem file there",
    "--detach": "the default of segued makes the piece in its own process, which ends with the command",
    "--give-up-after": "segued waits 10 s for its server",
    "--stall-limit": "segued uses the default of its client",
    "--heartbeat": "segued derives it from the default of its client",
    "--verbose": "log.level is the setting for this in segued",
    ("analyze", "--quiet"): "segued prints nothing but the report",
    ("list", "--quiet"): "segued prints nothing but the entries",
    ("models", "--quiet"): "segued prints nothing but the models",
    ("usage", "--quiet"): "segued prints nothing but the usage",
}
ONLY_SEGUED = {
    "--home": "segued has a store",
    "--from": "reads the manifest in a file, which segue does not decode",
    "--picture": "drawing needs numpy",
    "--voices": "packs are files on the machine of the service; with segue they are a model of its renderers",
    "--revision": "models are installed on the machine of the service",
    "--offline": "models are installed on the machine of the service",
    "--audiocraft": "models are installed on the machine of the service",
}
OPTION = re.compile(
    r" {2,}(?:-(?P<short>\w)(?: (?P<own>\S+))?, )?(?P<flag>--[a-z][a-z-]*)(?: (?P<value>\S+))?(?: {2,}(?P<help>.*))?"
)
ARGUMENT = re.compile(r" {2,}(?P<value>\S+)(?: {2,}(?P<help>.*))?")


@dataclass
class Option:
    """A flag or an argument, as the help shows it."""

    short: str
    value: str
    help: str


@dataclass
class Help:
    """The help page of a command."""

    summary: str
    options: dict[str, Option]
    arguments: dict[str, Option]
    exit_codes: str


def segue() -> Path:
    built = [path for profile in ("debug", "release") if (path := TARGET / profile / "segue").exists()]
    if not built:
        pytest.skip("needs the Rust command line: make rust")
    return max(built, key=lambda path: path.stat().st_mtime)


def help_of(*program: str) -> Help:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    done = subprocess.run(
        [*program, "--help"],
        env={**environment, "COLUMNS": "500"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return read(done.stdout)


def read(page: str) -> Help:
    """Read the help of either program: argparse and clap lay it out alike."""
    options: dict[str, Option] = {}
    arguments: dict[str, Option] = {}
    text, heading, latest = [], "", None
    for line in page.splitlines():
        if line and not line.startswith(" "):
            heading, latest = line, None
            text.append(line)
        elif heading.lower().startswith("usage"):
            continue
        elif match := OPTION.fullmatch(line):
            latest = Option(match["short"] or "", bare(match["value"]), match["help"] or "")
            options[match["flag"]] = latest
        elif heading == "Arguments:" and (match := ARGUMENT.fullmatch(line)):
            latest = Option("", bare(match["value"]), match["help"] or "")
            arguments[latest.value] = latest
        elif latest is not None and line.strip():
            latest.help = f"{latest.help} {line.strip()}".strip()
    for each in (*options.values(), *arguments.values()):
        each.help = re.sub(r"(\s*\[[^\]]*\])+$", "", each.help)
    summary = next(line for line in text if not line.lower().startswith("usage"))
    codes = re.search(r"Exit codes: [^.]*\.", " ".join(page.split()))
    return Help(summary, options, arguments, codes[0] if codes else "")


def bare(value: str | None) -> str:
    return re.sub(r"[<>\[\]]|\.\.\.", "", value or "")


@pytest.mark.parametrize("command", SHARED_COMMANDS)
def test_a_shared_command_has_the_same_flags_and_help(command: str) -> None:
    ours, theirs = help_of(sys.executable, "-m", "segued", command), help_of(str(segue()), command)
    assert ours.summary == theirs.summary
    shared = ours.options.keys() & theirs.options.keys()
    assert {flag: ours.options[flag] for flag in shared} == {flag: theirs.options[flag] for flag in shared}
    alone = {flag for flag in theirs.options if flag not in shared and (command, flag) not in ONLY_SEGUE}
    assert alone <= ONLY_SEGUE.keys()
    assert {flag for flag in ours.options if flag not in shared} <= ONLY_SEGUED.keys()


@pytest.mark.parametrize("command", ["compose", "plan", "analyze"])
def test_a_shared_command_has_the_same_argument(command: str) -> None:
    ours, theirs = help_of(sys.executable, "-m", "segued", command), help_of(str(segue()), command)
    assert ours.arguments == theirs.arguments
    assert ours.arguments


def test_the_exit_codes_are_the_same() -> None:
    ours, theirs = help_of(sys.executable, "-m", "segued"), help_of(str(segue()))
    assert ours.exit_codes.startswith("Exit codes: 0 done")
    assert ours.exit_codes == theirs.exit_codes


def test_every_exception_is_still_needed() -> None:
    pages = {command: help_of(str(segue()), command) for command in SHARED_COMMANDS}
    ours = {command: help_of(sys.executable, "-m", "segued", command) for command in SHARED_COMMANDS}
    for name in ONLY_SEGUE:
        commands, flag = ([name[0]], name[1]) if isinstance(name, tuple) else (SHARED_COMMANDS, name)
        assert any(flag in pages[each].options and flag not in ours[each].options for each in commands), name
    for flag in ONLY_SEGUED:
        assert any(flag in ours[each].options and flag not in pages[each].options for each in SHARED_COMMANDS), flag
