"""The table of prompts against the facts that are read in them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from segue_music.theory import MODE_NAMES, key_name
from segue_planner.prompt.reader import read_prompt

if TYPE_CHECKING:
    from segue_planner.prompt.prompt_facts import PromptFacts

ROWS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8"))["rows"]
SETS = ("instruments", "without", "has", "changes")
ENDS = {"big_end": "big", "soft_end": "soft", "fade_end": "fade", "abrupt_end": "abrupt", "long_end": "long"}
FEELS = ("half_time", "double_time")
CHANGES = ("key_change", "speeds_up", "slows_down", "builds", "calms")


def test_the_table_is_long_enough_and_has_no_row_twice() -> None:
    assert len(ROWS) >= 150
    assert len({row["text"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["text"][:60] for row in ROWS])
def test_a_prompt_is_read_as_the_table_says(row: dict[str, Any]) -> None:
    wanted = {key: sorted(value) if key in SETS else value for key, value in row.items() if key != "text"}
    assert as_row(read_prompt(row["text"])) == wanted


def as_row(facts: PromptFacts) -> dict[str, Any]:
    """Return facts in the form of a row of the table, without those that the prompt does not state."""
    row: dict[str, Any] = {
        **_tempo_and_key(facts),
        "seconds": facts.seconds and facts.seconds.value,
        "bars": facts.bars and facts.bars.value,
        "genre": facts.genre and facts.genre.value,
        **_instruments(facts),
        **_form(facts),
    }
    return {name: value for name, value in row.items() if value}


def _tempo_and_key(facts: PromptFacts) -> dict[str, Any]:
    return {
        "bpm": facts.bpm and facts.bpm.value,
        "about": facts.bpm_range and f"{facts.bpm_range.value[0]:g}-{facts.bpm_range.value[1]:g}",
        "tempo": facts.tempo_word and facts.tempo_word.value,
        "key": key_name(facts.key.value) if facts.key else MODE_NAMES[facts.mode.value] if facts.mode else None,
        "metre": facts.metre and f"{facts.metre.value.beats}/{facts.metre.value.unit}",
    }


def _instruments(facts: PromptFacts) -> dict[str, Any]:
    denied = [
        *(kind.name for kind in facts.without_layers),
        *facts.without_instruments,
        *(role.name.lower() for role in facts.without_roles),
    ]
    return {
        "instruments": sorted(facts.instruments),
        "without": sorted(denied),
        "only": bool(facts.only),
        "opens": " ".join(facts.opens) or ("quiet" if "quiet_start" in facts.course else None),
    }


def _form(facts: PromptFacts) -> dict[str, Any]:
    return {
        "ends": next((ENDS[name] for name in facts.course if name in ENDS), None),
        "form": facts.form and [role.name.lower() for role in facts.form.value],
        "has": sorted(role.name.lower() for role in facts.has),
        "kind": "loop" if "loop" in facts.course else None,
        "feel": next((name for name in facts.course if name in FEELS), None),
        "changes": sorted(name for name in facts.course if name in CHANGES),
    }
