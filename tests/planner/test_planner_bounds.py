"""What reading a prompt costs is bounded: calls grow with its length, and no pattern backtracks without bound."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.planner.planner_client import assert_valid, made

import segue_planner.prompt
from segue_planner.prompt.places import places
from segue_planner.prompt.reader import read_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

PARSER: Any = importlib.import_module("re._parser")
"""The parser of the standard library: its trees show what a pattern repeats."""
HALF_BYTES = 2048
"""Half of the longest prompt that the contract allows."""
PIECES = {
    "commas": ",",
    "and": " and ",
    "places": "drums at 0:20 and ",
    "clauses": "bass from 0:10 to 0:20, ",
    "roles": "in the verse ",
    "forms": "verse chorus ",
    "letters": "A B ",
    "metres": "chorus in 4/4 ",
    "keys": "up the key by ",
    "misspelt": "pianp gitarr ",
    "negations": "no no or ",
    "numbers": "4 bars 0:30 120 ",
    "mixed scripts": "rock 最後に鼓 пианино ñ ",
    "controls": "jazz\x00\x1b[2J\u202e\u200b\t ",
    "apostrophes": "l'",
    "instruments": "piano flute and harp, ",
}
GROWTH = 2.5
"""The calls for a prompt of twice the length, at most: twice as many, and what is read once."""


def calls_of(prompt: str) -> int:
    """Count the calls of functions, also of built-in ones, while a prompt is read."""
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        read_prompt(prompt)
    finally:
        sys.setprofile(before)
    return count


def of_bytes(piece: str, size: int) -> str:
    return (piece * size).encode()[:size].decode(errors="ignore")


@pytest.mark.parametrize("name", PIECES)
def test_twice_the_prompt_takes_at_most_about_twice_the_calls(name: str) -> None:
    half, whole = (of_bytes(PIECES[name], size) for size in (HALF_BYTES, 2 * HALF_BYTES))
    read_prompt("rock")  # fills the caches of the word lists
    read_prompt(half)
    assert calls_of(whole) <= GROWTH * calls_of(half)


@pytest.mark.parametrize("piece", [PIECES["places"], PIECES["metres"], PIECES["mixed scripts"], PIECES["commas"]])
def test_the_longest_prompt_gives_a_plan_of_bounded_size(piece: str) -> None:
    plan = made(of_bytes(piece, 2 * HALF_BYTES), 60)
    assert_valid(plan)
    assert len(plan.readings) <= 256
    assert all(len(each.text.encode()) <= 1024 for each in plan.warnings)


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield every pattern of the reader's modules, and those that are made of the word lists."""
    for module in pkgutil.walk_packages(segue_planner.prompt.__path__, "segue_planner.prompt."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value
    for name, pattern in places.patterns().items():
        yield name, pattern


def unbounded(parsed: Any, inside: bool = False) -> bool:
    """Return whether a repetition without bound is inside another one: its matches can take exponential time."""
    for operation, argument in parsed:
        repeats = operation in {PARSER.MAX_REPEAT, PARSER.MIN_REPEAT}
        endless = repeats and argument[1] == PARSER.MAXREPEAT
        if endless and inside:
            return True
        for child in argument if isinstance(argument, tuple | list) else ():
            groups = child if isinstance(child, list) and child and not isinstance(child[0], tuple) else [child]
            for group in groups:
                if hasattr(group, "getwidth") and unbounded(group, inside=inside or endless):
                    return True
    return False


def test_no_pattern_repeats_a_repetition_without_bound() -> None:
    found = dict(patterns())
    assert len(found) > 40
    bad = [name for name, pattern in found.items() if unbounded(PARSER.parse(pattern.pattern, pattern.flags))]
    assert bad == []
    assert unbounded(PARSER.parse(r"(?:a+b?)+c"))
