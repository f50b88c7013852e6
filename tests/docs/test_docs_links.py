"""Every file that the documentation points to is there, and every command of the README is a command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segued.flags.parser import parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    missing = [
        target
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_make_targets_and_commands_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    commands = {action.dest: action for action in parser()._actions}["command"].choices  # noqa: SLF001 - no other way
    for page in PAGES:
        text = page.read_text("utf-8")
        named = {word for line in re.findall(r"(?:^|`)make ([a-z -]+)", text, re.MULTILINE) for word in line.split()}
        assert named - targets == set(), page.name
        assert commands is not None
        assert set(re.findall(r"`(?:\.venv/bin/)?segued ([a-z][a-z-]*)", text)) - set(commands) == set(), page.name
