"""Files that the documentation links to exist, and so do the commands in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segued.flags.parser import parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_linked_files_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    missing = [
        target
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_named_make_targets_and_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    commands = {action.dest: action for action in parser()._actions}["command"].choices  # noqa: SLF001 - no other way
    for page in PAGES:
        text = page.read_text("utf-8")
        named = {word for line in re.findall(r"(?:^|`)make ([a-z -]+)", text, re.MULTILINE) for word in line.split()}
        assert named - targets == set(), page.name
        assert commands is not None
        assert set(re.findall(r"`(?:\.venv/bin/)?segued ([a-z][a-z-]*)", text)) - set(commands) == set(), page.name
