"""The settings of one run: a command's own flags override the flags of the settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime.settings import Settings, declared, load
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

STANDARD_INPUT = "-"


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load the settings from flags, environment and segue.toml."""
    keys = {each.key for each in declared()}
    flags = {key: value for key, value in vars(arguments).items() if key in keys and value is not None}
    if arguments.command == "serve":
        flags |= _serve_settings(arguments)
    elif arguments.command == "replay":
        if arguments.listen:
            flags["gateway.listen"] = arguments.listen
    else:
        if getattr(arguments, "server", None):
            flags["client.server"] = arguments.server
        if getattr(arguments, "token_file", None):
            flags["client.token"] = _token(arguments)
    settings = load(flags)
    if arguments.command == "serve" and arguments.model:
        return load(flags | {_model_key(settings, keys): arguments.model})
    return settings


def _model_key(settings: Settings, keys: set[str]) -> str:
    """Return the setting that `serve --model` sets: the models of the chosen backend that has some."""
    backends = [name.strip() for name in settings.renderer.backend.split(",")]
    found = [key for name in backends if (key := f"renderer.{name}.model") in keys]
    if not found:
        raise CliError(
            ExitCode.USAGE, f"--model: the backend {', '.join(backends)} has no model", "add --renderer musicgen"
        )
    if len(found) > 1:
        flags = ", ".join(f"--{key.replace('.', '-')}" for key in found)
        raise CliError(ExitCode.USAGE, "--model: several of the backends have models", f"use {flags}")
    return found[0]


def _token(arguments: argparse.Namespace) -> str:
    """Read the token from its file. A token in an argument would be visible to every user of the machine."""
    source = arguments.token_file
    if source == STANDARD_INPUT:
        if getattr(arguments, "plan", None) == STANDARD_INPUT:
            raise CliError(ExitCode.USAGE, "--plan and --token-file both read standard input", "name a file for one")
        return sys.stdin.read().strip()
    try:
        return Path(source).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CliError(ExitCode.USAGE, f"{source}: it is not UTF-8 text") from error


def _serve_settings(arguments: argparse.Namespace) -> dict[str, str]:
    flags = {}
    if arguments.role:
        flags["server.role"] = arguments.role
    if arguments.renderer:
        flags["renderer.backend"] = arguments.renderer
    if arguments.insecure:
        flags["server.insecure"] = "true"
    if arguments.listen:
        role = arguments.role or "all"
        flags[f"{'gateway' if role == 'all' else role}.listen"] = arguments.listen
    return flags
