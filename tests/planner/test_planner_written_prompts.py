"""Prompts as people write them: the facts of the table must hold in their plans, and in notes of the sketch band."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from tests.planner.model_server import PROPOSAL, answers, planner_with_model
from tests.planner.planner_client import made, specs
from tests.planner.prompt_checks import ROWS, failures

from segue_music.elements import LayerKind
from segue_music.plan import Brief
from segue_planner.genres.artists import Artists
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

LEAST_PROMPTS = 0.9
LEAST_FACTS = 0.95
LEAST_FACTS_PROPOSED = 0.9
PROPOSED = {"genre", "unread", "warns", "lacks_roles", "last_role"}
"""Facts that a language model decides: what the prompt only indicates, and the form that it leaves open."""


@cache
def results() -> dict[str, list[str]]:
    """Return the facts that do not hold, for each prompt."""
    return {row["text"]: failures(row, made(row["text"])) for row in ROWS}


def test_the_table_is_long_enough_and_has_no_prompt_twice() -> None:
    assert len(ROWS) >= 200
    assert len({row["text"] for row in ROWS}) == len(ROWS)


def test_the_facts_of_most_prompts_hold() -> None:
    failed = {text: found for text, found in results().items() if found}
    facts = sum(len(row) - 1 for row in ROWS)
    wrong = sum(len(found) for found in failed.values())
    shown = "\n".join(f"{text}: {found}" for text, found in failed.items())
    assert 1 - len(failed) / len(ROWS) >= LEAST_PROMPTS, shown
    assert 1 - wrong / facts >= LEAST_FACTS, shown


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("heavy metal, double kick", {LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY, LayerKind.LEAD}),
        ("funk with cowbell", {LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY}),
        ("calm piano", {LayerKind.HARMONY, LayerKind.LEAD}),
        ("solo drums", {LayerKind.RHYTHM}),
        ("string quartet", {LayerKind.BASS, LayerKind.HARMONY, LayerKind.LEAD}),
    ],
)
def test_the_composed_notes_are_of_the_named_players(prompt: str, names: set[LayerKind]) -> None:
    plan = made(prompt, 40)
    fullest = max(specs(plan), key=lambda spec: sum(spec.energy) / len(spec.energy))
    notes = SketchBand(fullest, 1).notes
    assert names <= {note.layer for note in notes}
    if LayerKind.RHYTHM not in names:
        assert LayerKind.RHYTHM not in {note.layer for note in notes}
    elif prompt != "solo drums":
        assert len({note.pitch for note in notes if note.layer == LayerKind.RHYTHM}) >= 3, "the groove stays"


def test_a_misspelt_player_at_a_place_plays_only_there() -> None:
    plan = made("rock, pianno in the intro")
    playing = [any("piano" in layer.instruments for layer in spec.layers) for spec in specs(plan)]
    assert playing[0]
    assert not any(playing[1:])


async def test_a_language_model_changes_no_facts_of_the_prompts(tmp_path: Path) -> None:
    rows = [{name: fact for name, fact in row.items() if name not in PROPOSED} for row in ROWS[::8]]
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        plans = [await planner.plan(Brief(prompt=row["text"])) for row in rows]
    facts = sum(len(row) - 1 for row in rows)
    failed = {row["text"]: found for row, plan in zip(rows, plans, strict=True) if (found := failures(row, plan))}
    assert 1 - sum(map(len, failed.values())) / facts >= LEAST_FACTS_PROPOSED, failed


def test_names_of_artists_are_read_ignored_or_refused_and_never_written() -> None:
    brief = Brief(prompt="like Miles Davis")
    plan = Planner(brief).plan()
    assert plan.genre == "jazz"
    assert "davis" not in repr(plan).lower()
    ignoring = Planner(brief, artists=Artists.IGNORE).plan()
    assert ignoring.genre != "jazz"
    assert "davis" not in repr(ignoring).lower()
    with pytest.raises(errors.InvalidField):
        Planner(brief, artists=Artists.REFUSE).plan()
