"""Rules for the shape of the source tree: folder sizes, import cycles, function lengths, and class names."""

from __future__ import annotations

import ast
import collections
import graphlib
import re
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["importlinter"]["root_packages"]
FOLDERS: list[Path] = [
    ROOT / folder
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    if not folder.startswith("gen/")
]
MODULES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
MAX_MODULES = 12
MAX_LINES = 60
MAX_CLASS_NAMES_TWICE = 5

# Public class names in two components, each with the reason.
SHARED_NAMES: dict[str, str] = {
    "SegueError": "the client's and the service's base of errors; the client shares no code with the service",
    "FieldViolation": "the same violation, received by the client and sent by the service",
}


def component(module: Path) -> str:
    """Return the component that a module belongs to: its package."""
    return next(folder.name for folder in FOLDERS if module.is_relative_to(folder))


def classes() -> list[tuple[str, Path]]:
    """Return every public class with its module."""
    return [
        (node.name, module)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_folder_has_more_than_twelve_modules() -> None:
    sizes = collections.Counter(
        str(path.parent.relative_to(ROOT))
        for path in [*MODULES, *(ROOT / "clients/rust/src").rglob("*.rs")]
        if path.name not in {"__init__.py", "__main__.py", "mod.rs"} and path.parent.name != "commands"
    )
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Imports for types count: two modules that need each other's types are one module, or need a third.
    graph = grimp.build_graph(*PACKAGES, include_external_packages=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_functions_fit_on_a_screen() -> None:
    long = {
        f"{module.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_a_class_name_has_one_meaning() -> None:
    where = collections.defaultdict(set)
    for name, module in classes():
        where[name].add(str(module.relative_to(ROOT)))
    twice = {name: sorted(modules) for name, modules in where.items() if len(modules) > 1}
    assert {name: modules for name, modules in twice.items() if name not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(twice), "a name on the list is no longer shared"
    assert len(SHARED_NAMES) <= MAX_CLASS_NAMES_TWICE


def reserved_words() -> dict[str, set[str]]:
    """Return the contract's words of docs/words.md, each with the class names that use it."""
    rows = re.findall(r"^\| \*\*([a-z]+)\*\* \|[^|]*\|([^|]*)\|$", (ROOT / "docs/words.md").read_text(), re.MULTILINE)
    return {word: set(re.findall(r"`(\w+)`", names)) for word, names in rows}


def test_a_contract_word_means_the_same_in_every_class_name() -> None:
    reserved = reserved_words()
    assert len(reserved) >= 15
    used = collections.defaultdict(set)
    for name, _ in classes():
        for word in re.findall(r"[A-Z][a-z0-9]*", name):
            used[word.lower()].add(name)
    for word, names in reserved.items():
        assert used[word] == names, f"docs/words.md lists the classes that use {word!r} in the contract's meaning"
