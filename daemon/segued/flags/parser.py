"""The command line: every command with its help sentence and its flags."""

from __future__ import annotations

import argparse
from pathlib import Path

from segued.flags.files import add_audio_file, add_composition
from segued.flags.music import add_music
from segued.flags.shared import add_force, add_output, add_server, add_settings, add_tls, add_voices
from segued.flags.values import count, day, names, seconds, speed

EXIT_CODES = (
    "Exit codes: 0 done, 1 the composition or the work failed, 2 wrong usage, 3 the server cannot be reached, "
    "4 refused by the server, 5 the server is busy, 130 interrupted, 128 + n ended by signal n."
)
EPILOG = f"""\
{EXIT_CODES}
Every setting that `segued config` lists is also a flag, a SEGUE_* variable and a line of segue.toml.
"""
DEFAULT_ADDRESS = "127.0.0.1:7300"
AUDIO_FILE = "Audio file"
LISTED = ("compositions", "uploads", "analyses", "separations")


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(
        prog="segued",
        description="Turns a prompt into a planned, multi-section piece of music, streamed while it is being made.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    _add_help(top)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    music = (_compose, _plan, _master, _analyze, _separate)
    stored = (_gc, _store, _tenant)
    for add in (
        _serve,
        *music,
        _models,
        _voices,
        _usage,
        _list,
        _cancel,
        _bridge,
        _doctor,
        _health,
        _check_renderer,
        _record,
        _replay,
        *stored,
        _token,
        _config,
        _version,
    ):
        add_settings(add(commands))
    return top


Commands = argparse._SubParsersAction  # noqa: SLF001 - its only name  # pyright: ignore[reportPrivateUsage]


def _command(
    commands: Commands[argparse.ArgumentParser], name: str, about: str, required: str = ""
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        usage=" ".join(["segued", name, "[OPTIONS]", *required.split()]),
        help=about,
        description=about,
        epilog=EXIT_CODES,
        allow_abbrev=False,
        add_help=False,
    )
    _add_help(command)
    return command


def _add_help(command: argparse.ArgumentParser) -> None:
    command.add_argument("-h", "--help", action="help", help="Print help")


def _serve(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "serve", "Start all roles in one process, or one role of the mesh")
    command.add_argument(
        "--listen", metavar="HOST:PORT", help=f"Address where clients connect [default: {DEFAULT_ADDRESS}]"
    )
    command.add_argument("--role", metavar="ROLE", help="all, planner, renderer, mixer, analyzer, gateway or conductor")
    command.add_argument(
        "--renderer", metavar="NAMES", help="Backends, separated by commas, for example sketch,musicgen"
    )
    command.add_argument(
        "--model",
        metavar="MODELS",
        help="Models of the backend, separated by commas: for musicgen folders, or names of pulled models",
    )
    add_voices(command)
    command.add_argument(
        "--device",
        dest="renderer.devices",
        metavar="DEVICES",
        help="One renderer process for each device: cuda:all, cuda:0,1 or cpu:2; needs --role renderer",
    )
    command.add_argument("--ends-with-input", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--insecure", action="store_true", help="Allow a non-loopback address without TLS and token")
    return command


def _compose(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "compose", "Compose a piece and write it to a file", "[PROMPT]")
    add_voices(add_music(command))
    add_composition(command)
    add_server(command)
    add_output(command)
    return command


def _plan(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "plan",
        "Plan a piece without making it; the JSON can be edited and given to `compose --plan`",
        "[PROMPT]",
    )
    add_music(command)
    group = command.add_argument_group("Files")
    group.add_argument("-o", "--output", metavar="FILE", help="File for the plan in JSON; `-` is standard output")
    add_force(group)
    add_server(command)
    add_output(command)
    return command


def _master(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "master", "Master an audio file: loudness, true peak and tone", "-o FILE FILE")
    command.add_argument_group("Arguments").add_argument("file", metavar="FILE", help=AUDIO_FILE)
    add_audio_file(command)
    add_server(command)
    add_output(command)
    return command


def _analyze(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "analyze", "Measure audio files", "FILE...")
    command.add_argument_group("Arguments").add_argument(
        "files", metavar="FILE", nargs="+", help="Audio file, folder, output or take: compositions/9f2c…/takes/verse-1"
    )
    command.add_argument_group("Tracks").add_argument(
        "--tracks", action="store_true", help="Find the tracks of a recording that holds several"
    )
    group = command.add_argument_group("Files")
    group.add_argument("--cue", metavar="FILE", type=Path, help="File for a cue sheet of the tracks; needs --tracks")
    group.add_argument("--picture", metavar="FILE", type=Path, help="Also draw the report as a PNG file")
    add_force(group)
    add_server(command)
    add_output(command, quiet=False, csv=True)
    return command


def _separate(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "separate", "Separate an audio file into stems, which add up to it", "-o FOLDER FILE")
    command.add_argument_group("Arguments").add_argument(
        "file", metavar="FILE", help="Audio file, or output: compositions/9f2c…/outputs/master.flac"
    )
    group = command.add_argument_group("Files")
    target = group.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="FOLDER", help="Folder for the stems")
    target.add_argument("--out", dest="output", metavar="FOLDER", help=argparse.SUPPRESS)
    group.add_argument(
        "--format", metavar="FORMAT", choices=("flac", "wav"), default="flac",
        help="flac with 24 bits, or wav with 32-bit float [default: flac]",
    )  # fmt: skip
    group.add_argument(
        "--stems", metavar="STEMS", choices=("best", "two", "four"), default="best",
        help="two: harmonic and percussive; four: drums, bass, other and vocals, if the server has weights for them; "
        "best: four if it has [default: best]",
    )  # fmt: skip
    add_force(group)
    add_server(command)
    add_output(command)
    return command


def _models(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "models", "List the models that can play", "[pull|list|verify|rm] [NAME]")
    arguments = command.add_argument_group("Arguments")
    arguments.add_argument(
        "action", nargs="?", choices=("pull", "list", "verify", "rm"), help="Manage the models on this machine instead"
    )
    arguments.add_argument(
        "name", nargs="?", metavar="NAME", default="", help="Model: musicgen-small, or OWNER/NAME on the hub"
    )
    group = command.add_argument_group("Models on this machine")
    group.add_argument("--revision", metavar="REVISION", default="main", help="pull: revision on the hub")
    group.add_argument("--audiocraft", action="store_true", help="pull: the files that the audiocraft renderer opens")
    group.add_argument("--offline", action="store_true", help="pull: only check the files that are here")
    add_server(command)
    add_output(command, quiet=False)
    return command


def _voices(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "voices",
        "Build voice packs from SoundFonts, with which the sketch band plays sampled instruments",
        "build|list|remove|find [FONT|NAME]",
    )
    arguments = command.add_argument_group("Arguments")
    arguments.add_argument(
        "action",
        choices=("build", "list", "remove", "find"),
        help="Build a pack, list or remove packs, or find SoundFonts where systems keep them",
    )
    arguments.add_argument(
        "target", nargs="?", metavar="FONT|NAME", default="", help="build: file, .sf2 or .sf3; remove: name of a pack"
    )
    group = command.add_argument_group("Packs")
    group.add_argument("--name", metavar="NAME", default="", help="build: name of the pack [default: the font's]")
    group.add_argument(
        "--license", metavar="LICENCE", default="", help="build: the font's licence, as its files state it"
    )
    add_force(group)
    add_output(command, quiet=False)
    return command


def _usage(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "usage", "Show what you have used, by day in UTC")
    group = command.add_argument_group("Owners and days")
    whose = group.add_mutually_exclusive_group()
    whose.add_argument("--owner", metavar="OWNER", default="", help="Show another owner; needs the grant admin")
    whose.add_argument("--all", action="store_true", help="Show all owners; needs the grant admin")
    group.add_argument(
        "--first-day", metavar="DAY", type=day, help="First day, as 2026-11-30 [default: 29 days before the last]"
    )
    group.add_argument("--last-day", metavar="DAY", type=day, help="Last day [default: today]")
    add_server(command, DEFAULT_ADDRESS)
    add_output(command, quiet=False)
    return command


def _list(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "list", "List compositions, uploads, analyses or separations, newest first", "[WHAT]")
    command.add_argument_group("Arguments").add_argument(
        "what", nargs="?", metavar="WHAT", choices=LISTED, default=LISTED[0], help=f"What to list: {', '.join(LISTED)}"
    )
    group = command.add_argument_group("Entries")
    group.add_argument(
        "--filter", metavar="FILTER", default="",
        help="Terms joined by AND, for example 'state = \"SUCCEEDED\"'; of uploads only the owner",
    )  # fmt: skip
    group.add_argument("-n", "--limit", metavar="LIMIT", type=count, default=20, help="Largest number of lines")
    add_server(command, DEFAULT_ADDRESS)
    add_output(command, quiet=False)
    return command


def _cancel(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "cancel",
        "Cancel compositions, analyses or separations; finished files of compositions can still be downloaded",
        "NAMES...",
    )
    command.add_argument_group("Arguments").add_argument(
        "names",
        nargs="+",
        metavar="NAMES",
        help="Names of compositions, or of analyses and separations as `list` has them",
    )
    add_server(command, DEFAULT_ADDRESS)
    add_output(command)
    return command


def _doctor(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "doctor", "Check server, home, store, artifacts and bridge of the settings")
    add_server(command, "none")
    add_output(command, quiet=False)
    return command


def _bridge(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "bridge", "Measure the files that jobs in a list of Redis name", "redis-list")
    command.add_argument_group("Arguments").add_argument(
        "action", choices=("redis-list",), help="Take jobs from bridge.jobs, push results to bridge.results"
    )
    add_server(command)
    return command


def _health(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "health", "Ask a server whether it is ready: exit code 0 or 3", "[ADDRESS]")
    command.add_argument_group("Arguments").add_argument(
        "address",
        metavar="ADDRESS",
        nargs="?",
        help="Server [default: the role of these settings]",
    )
    add_tls(command.add_argument_group("Server"))
    return command


def _check_renderer(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands, "check-renderer", "Check that a renderer keeps the contract: exit code 1 if a check fails"
    )
    command.add_argument_group("Arguments").add_argument("address", metavar="ADDRESS", help="Renderer to check")
    group = command.add_argument_group("Checks")
    group.add_argument("--model", metavar="MODEL", default="", help="Model to check [default: the renderer's first]")
    group.add_argument(
        "--time-limit", metavar="TIME", type=seconds, default=600.0, help="Time limit of one check [default: 10m]"
    )
    add_tls(command.add_argument_group("Server"))
    add_output(command, quiet=False)
    return command


def _record(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "record", "Keep a composition's stream and files, for `segued replay`", "-o FILE NAME")
    command.add_argument_group("Arguments").add_argument(
        "name", metavar="NAME", help="Composition, for example compositions/9f2c…"
    )
    group = command.add_argument_group("Files")
    group.add_argument("-o", "--output", metavar="FILE", required=True, help="Recording to write")
    add_force(group)
    add_server(command, DEFAULT_ADDRESS)
    return command


def _replay(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "replay", "Serve a recording as a gateway would; nothing is rendered", "FILE")
    command.add_argument_group("Arguments").add_argument(
        "file", metavar="FILE", help="Recording, written by `segued record`"
    )
    command.add_argument(
        "--listen", metavar="HOST:PORT", help=f"Address where clients connect [default: {DEFAULT_ADDRESS}]"
    )
    command.add_argument(
        "--speed",
        type=speed,
        default=1.0,
        metavar="N",
        help="1 takes the recorded time, inf has no pauses [default: 1]",
    )
    return command


def _gc(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "gc", "Delete what has expired, and takes that no composition needs, from the home")
    command.add_argument("--json", action="store_true", help="Print what was freed as JSON")
    return command


def _store(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "store", "Rebuild the indexes of a store in Redis", "repair")
    command.add_argument_group("Arguments").add_argument("action", choices=("repair",), help="What to do")
    command.add_argument("--json", action="store_true", help="Print what was repaired as JSON")
    return command


def _token(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "token", "Sign a token for a caller, with the first key of server.signing_keys")
    command.add_argument("--owner", metavar="NAME", help="Owner that the caller acts for")
    command.add_argument(
        "--grant", metavar="GRANTS", type=names, help="What the caller may do [default: compose,watch,analyze]"
    )
    command.add_argument(
        "--ttl", metavar="TIME", type=seconds, default=3600.0, help="How long the token is valid [default: 1h]"
    )
    command.add_argument("--new-key", metavar="FILE", help="Add a key to a file of keys instead, as the first one")
    command.add_argument("--json", action="store_true", help="Print token, grants and expiry as JSON")
    return command


def _tenant(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "tenant",
        "Show what owners may use, or erase everything that the home has of one",
        "list|show|delete [OWNER]",
    )
    arguments = command.add_argument_group("Arguments")
    about = "Show all entries of the tenant table, show what counts for one owner, or erase an owner"
    arguments.add_argument("action", choices=("list", "show", "delete"), help=about)
    arguments.add_argument("owner", nargs="?", metavar="OWNER", default="", help="show, delete: owner")
    command.add_argument("-y", "--yes", action="store_true", help="delete: erase without asking")
    command.add_argument("--json", action="store_true", help="Print the entries, or what was erased, as JSON")
    return command


def _config(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "config", "Show every setting, its value and where it came from")
    command.add_argument("--json", action="store_true", help="Print them as JSON")
    command.add_argument("--changed", action="store_true", help="Only settings that are not at their defaults")
    return command


def _version(commands: Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(commands, "version", "Show the versions of Segue and of the packages that its bytes depend on")
    command.add_argument("--json", action="store_true", help="Print them as JSON")
    return command
