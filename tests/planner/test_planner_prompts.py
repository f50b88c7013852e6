"""The table of prompts against what is read in them; a wrong reading shows as a difference of two tables."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from segue_planner.prompt.reader import read_prompt

ROWS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8"))["rows"]


def test_the_table_is_long_enough_and_has_no_row_twice() -> None:
    assert len(ROWS) >= 150
    assert len({row["text"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["text"][:60] for row in ROWS])
def test_a_prompt_is_read_as_the_table_says(row: dict[str, Any]) -> None:
    wanted = {key: sorted(value) if key in SETS else value for key, value in row.items() if key != "text"}
    assert read_prompt(row["text"]).facts() == wanted


SETS = ("instruments", "without", "has", "changes")
