"""The sources of settings: flags, then SEGUE_* variables, then segue.toml, then defaults."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from segue_runtime.settings.sections import Settings
from segue_runtime.settings.values import Spec, read, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T")
PREFIX = "SEGUE_"
MAX_SUGGESTIONS = 3
FILE = "segue.toml"
CONFIG = "SEGUE_CONFIG"


class SettingsError(Exception):
    """Invalid settings; `problems` has one line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting. Its `key` in segue.toml is section.name; `environment` and `flag` are its other names.

    A section may contain sections, one for each alternative, such as `renderer.musicgen`.
    """

    key: str
    section: str
    attribute: str
    default: str
    spec: Spec

    @property
    def environment(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def flag(self) -> str:
        """The command-line flag that sets it."""
        return "--" + self.key.replace(".", "-").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `segued config`."""

    key: str
    value: str
    origin: str
    help: str
    environment: str
    flag: str


def declared() -> tuple[Declared, ...]:
    """List every setting in the order of the sections."""
    return tuple(_declared_in(Settings(home=Path()), ""))


def _declared_in(holder: object, section: str) -> Iterator[Declared]:
    for each in dataclasses.fields(cast("Any", holder)):
        if each.name == "origins":
            continue
        if "spec" not in each.metadata:
            yield from _declared_in(getattr(holder, each.name), f"{section}.{each.name}" if section else each.name)
            continue
        spec: Spec = each.metadata["spec"]
        name = each.name.removesuffix("_s") if spec.kind == "duration" else each.name
        default = "" if each.default is dataclasses.MISSING else write(spec, each.default)
        yield Declared(f"{section}.{name}" if section else name, section, each.name, default, spec)


def load(
    flags: Mapping[str, object] = MappingProxyType({}),
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Read all sources; `flags` maps keys ("conductor.lease") to texts. Raise SettingsError with every problem.

    `environ` and `folder` replace the process's environment and working directory.
    """
    environment = os.environ if environ is None else environ
    known = {each.key: each for each in declared()}
    problems: list[str] = []
    found: dict[str, tuple[object, str]] = {}
    for path in _files(environment, folder or Path.cwd(), problems):
        for key, written in _file_values(path, known, problems):
            found.setdefault(key, (written, str(path)))
    for key, written, name in _environment_values(environment, known, problems):
        found[key] = (written, name)
    for key, written in flags.items():
        if key not in known:
            problems.append(f"{key}: no such setting{_did_you_mean(key, known)}")
        else:
            found[key] = (written, known[key].flag)
    values: dict[str, object] = {}
    for key, (written, origin) in found.items():
        try:
            values[key] = read(known[key].spec, written)
        except ValueError as error:
            # The message must not contain a secret.
            reason = "cannot be read" if known[key].spec.secret else str(error)
            problems.append(f"{key} (from {origin}): {reason}")
    if problems:
        raise SettingsError(problems)
    return _build(known, values, {key: origin for key, (_, origin) in found.items()})


def replace(settings: Settings, **changes: object) -> Settings:
    """Return settings with other values, named `section__attribute` or `home`, for tests and embedded use.

    An attribute of an inner section is `section__section__attribute`.
    """
    return _replaced(settings, changes)


def _replaced(holder: T, changes: Mapping[str, object]) -> T:
    values: dict[str, object] = {}
    sections: dict[str, dict[str, object]] = {}
    for name, value in changes.items():
        section, _, rest = name.partition("__")
        if rest:
            sections.setdefault(section, {})[rest] = value
        else:
            values[name] = value
    for section, inner in sections.items():
        values[section] = _replaced(getattr(holder, section), inner)
    return cast("T", dataclasses.replace(cast("Any", holder), **values))


def set_library_defaults(**variables: str) -> None:
    """Set variables that libraries read when they are imported. Variables of the user's environment stay."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def process_environment(changes: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment of this process with changes, for a child process."""
    return {**os.environ, **changes}


def allows_colours() -> bool:
    """Return whether NO_COLOR and TERM allow a terminal program to use colours."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def rows(settings: Settings) -> list[Row]:
    """Return every setting with its value and source, as `segued config` prints them."""
    lines: list[Row] = []
    for each in declared():
        holder = attrgetter(each.section)(settings) if each.section else settings
        value = write(each.spec, getattr(holder, each.attribute))
        origin = settings.origins.get(each.key, "default")
        lines.append(Row(each.key, value, origin, each.spec.help, each.environment, each.flag))
    return lines


def _build(known: Mapping[str, Declared], values: Mapping[str, object], origins: dict[str, str]) -> Settings:
    changes: dict[str, object] = {}
    for key, value in values.items():
        each = known[key]
        if value is not None or each.section:
            name = f"{each.section}.{each.attribute}" if each.section else each.attribute
            changes[name.replace(".", "__")] = value
    settings = replace(Settings(), **changes)
    return dataclasses.replace(settings, origins=MappingProxyType(origins))


def user_file(environment: Mapping[str, str]) -> Path:
    """Return the path of the user's settings file, which may not exist."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "segue" / FILE
    if sys.platform == "win32":
        return Path(environment.get("APPDATA") or home / "AppData" / "Roaming") / "segue" / FILE
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "segue" / FILE


def _files(environment: Mapping[str, str], folder: Path, problems: list[str]) -> list[Path]:
    chosen = environment.get(CONFIG)
    if not chosen:
        return [path for path in (folder / FILE, user_file(environment)) if path.is_file()]
    if not Path(chosen).is_file():
        problems.append(f"{CONFIG}: there is no file {chosen}")
        return []
    return [Path(chosen)]


def _file_values(path: Path, known: Mapping[str, Declared], problems: list[str]) -> Iterator[tuple[str, object]]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return
    for key, value in _flattened(tree):
        if key in known:
            yield key, value
        else:
            problems.append(f"{path}: no setting {key!r}{_did_you_mean(key, known)}")


def _flattened(tree: Mapping[str, object], section: str = "") -> Iterator[tuple[str, object]]:
    """Yield keys such as `renderer.musicgen.model`, each with its value."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flattened(cast("dict[str, object]", value), f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def _environment_values(
    environment: Mapping[str, str], known: Mapping[str, Declared], problems: list[str]
) -> Iterator[tuple[str, object, str]]:
    by_name = {each.environment: key for key, each in known.items()}
    for name, value in sorted(environment.items()):
        if name in by_name:
            yield by_name[name], value, name
        elif name.startswith(PREFIX) and name != CONFIG:
            problems.append(f"{name}: no such variable{_did_you_mean(name, [*by_name, CONFIG])}")


def _did_you_mean(written: str, names: Iterable[str]) -> str:
    """Suggest the names that have all words of the written one, as in `renderer.NAME.model`, else the nearest name."""
    import difflib

    listed, words = list(names), _words(written)
    close = sorted((name for name in listed if words <= _words(name)), key=len)[:MAX_SUGGESTIONS]
    close = close or difflib.get_close_matches(written, listed, n=1, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; `segued config` lists them"


def _words(name: str) -> set[str]:
    return set(re.split("[._-]", name.lower()))
