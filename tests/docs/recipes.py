"""Runs the commands of a documentation page as one session, and compares the shape of their output."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+)( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASSIGNED = re.compile(r"^([A-Z]+)=", re.MULTILINE)
LIMIT_S = 60
# Events that may occur at any time.
INCIDENTAL = {"section_progress", "sectionProgress", "checkpoint", "warned", "progress", "notes"}


@dataclass(frozen=True)
class Recipe:
    """A command with the output that the page shows."""

    command: str
    expected: str
    kind: str
    fails: bool


def recipes_of(page: Path) -> list[Recipe]:
    """Return the page's `sh` blocks, each with the `json` or `text` block that follows it."""
    found: list[Recipe] = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        language, fails, content = match.group(1), bool(match.group(2)), match.group(3)
        if language == "sh":
            found.append(Recipe(content, "", "", fails=False))
        elif found and not found[-1].kind:
            found[-1] = Recipe(found[-1].command, content, language, fails)
    return found


class Session:
    """A shell that keeps its variables between commands."""

    def __init__(self, folder: Path, path: Sequence[str], **variables: str) -> None:
        self._folder = folder
        self._fixed = set(variables)
        self._variables = dict(variables)
        self._path = os.pathsep.join([*path, os.environ["PATH"]])
        for shared in ("docs", "protos", "buf.yaml"):
            (folder / shared).symlink_to(ROOT / shared)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        wanted = [name for name in ASSIGNED.findall(command) if name not in self._fixed]
        known = "".join(f"{name}={shlex.quote(value)}\n" for name, value in self._variables.items())
        ours = "\n".join(line for line in command.splitlines() if line.partition("=")[0] not in self._fixed)
        kept = "".join(f'\nprintf "%s" "${name}" > .{name}' for name in wanted)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{known}{ours}\ncode=$?{kept}\nexit $code"],
            cwd=self._folder,
            env={**os.environ, "PATH": self._path},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        for name in wanted:
            self._variables[name] = (self._folder / f".{name}").read_text()
        return done


def check(recipe: Recipe, done: subprocess.CompletedProcess[str]) -> None:
    """Fail when the output of a command differs from the page."""
    transcript = f"$ {recipe.command}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    assert (done.returncode != 0) == recipe.fails, transcript
    if recipe.kind == "text":
        for line in recipe.expected.splitlines():
            assert line in done.stdout + done.stderr, f"{line!r} is missing:\n{transcript}"
    elif recipe.kind == "json":
        expected, actual = [*documents(recipe.expected)], [*documents(done.stdout)]
        for shown in expected:
            assert any(fits(shown, each) for each in actual), f"no output like {shown}:\n{transcript}"
        kinds = {kind_of(each) for each in expected} | INCIDENTAL
        strange = {kind_of(each) for each in actual} - kinds
        assert not strange or not recipe.expected.count("cursor") > 2, f"{strange} is not on the page:\n{transcript}"


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text."""
    decoder, at = json.JSONDecoder(), 0
    while (at := _skip_spaces(text, at)) < len(text) and text[at] == "{":
        document, at = decoder.raw_decode(text, at)
        yield document


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def kind_of(document: dict[str, Any]) -> str:
    """Return the kind of an event or of a stream's message."""
    event = document.get("event", document)
    common = {"composition", "sequence", "event_time", "eventTime", "plan_version", "planVersion"}
    return ",".join(sorted(set(event) - common))


def fits(shown: Any, actual: Any) -> bool:
    """Check that the output has all shown fields with the same types; constants in capitals must be equal."""
    if isinstance(shown, dict):
        return isinstance(actual, dict) and all(name in actual and fits(shown[name], actual[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(actual, list) and all(any(fits(one, each) for each in actual) for one in shown)
    if isinstance(shown, str) and shown.isupper() and "_" in shown:
        return bool(shown == actual)
    if isinstance(shown, float | int) and not isinstance(shown, bool):
        return isinstance(actual, float | int)
    return type(shown) is type(actual)
