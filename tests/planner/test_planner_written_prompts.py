"""Prompts as people write them: the facts of the table must hold in their plans, and in notes of the sketch band."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from tests.planner.composed_notes import is_checked, wrong_notes
from tests.planner.model_server import PROPOSAL, answers, planner_with_model
from tests.planner.planner_client import made, specs
from tests.planner.prompt_checks import ROWS, TABLES, failures

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
CHECKED = [row for row in ROWS if is_checked(row)]
SAMPLE = CHECKED[::6]
PROPOSED = {"genre", "unread", "warns", "lacks_roles", "last_role"}
"""Facts that a language model decides: what the prompt only indicates, and the form that it leaves open."""


@cache
def results(table: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return the facts that do not hold and the warnings, for each prompt of a table where some do not."""
    plans = {row["text"]: made(row["text"]) for row in TABLES[table]}
    found = {row["text"]: failures(row, plans[row["text"]]) for row in TABLES[table]}
    return {text: (wrong, [each.code for each in plans[text].warnings]) for text, wrong in found.items() if wrong}


def test_the_tables_are_long_enough_and_have_no_prompt_twice() -> None:
    assert len(ROWS) >= 390
    assert len(TABLES["tuned"]) >= 60
    assert len(TABLES["held_out"]) >= 60
    assert len(TABLES["blind"]) >= 40
    assert len(SAMPLE) >= 40
    assert len({row["text"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("table", TABLES)
def test_the_facts_of_most_prompts_hold(table: str) -> None:
    failed = results(table)
    facts = sum(len(row) - 1 for row in TABLES[table])
    wrong = sum(len(found) for found, _ in failed.values())
    shown = "\n".join(f"{text}: {found}" for text, (found, _) in failed.items())
    assert 1 - len(failed) / len(TABLES[table]) >= LEAST_PROMPTS, shown
    assert 1 - wrong / facts >= LEAST_FACTS, shown


@pytest.mark.parametrize("table", TABLES)
def test_every_prompt_that_fails_has_a_warning(table: str) -> None:
    assert [text for text, (_, warnings) in results(table).items() if not warnings] == []


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


@pytest.mark.parametrize(
    "part",
    [
        *(SAMPLE[first::3] for first in range(3)),
        pytest.param(CHECKED, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
    ids=["sample 1", "sample 2", "sample 3", "all"],
)
def test_the_composed_notes_show_every_fact_of_the_plan(part: list[dict[str, Any]]) -> None:
    """Only the piano in "only piano", no drum before "drums enter at 0:30", key, tempo and metre of the notes."""
    wrong = {}
    for row in part:
        plan = made(row["text"])
        # A fact that the plan lacks is counted elsewhere.
        unheard = set(wrong_notes(row, plan)) - set(failures(row, plan))
        if unheard:
            wrong[row["text"]] = unheard
    assert wrong == {}


@pytest.mark.parametrize(
    ("prompt", "seconds", "words"),
    [
        ("rock with four choruses", 4, "four choruses"),
        ("tempo doubles at the end, 140 bpm rock", 3, "tempo doubles at the end"),
        ("end on the bridge, rock, verse, chorus, verse, chorus", 60, "end on the bridge"),
    ],
)
def test_what_a_plan_does_not_do_is_named(prompt: str, seconds: float, words: str) -> None:
    undone = [each.text for each in made(prompt, seconds).warnings if each.code in {"prompt_not_done", "place_missing"}]
    assert any(words in text for text in undone), undone


def test_prompts_whose_facts_hold_are_rarely_called_undone() -> None:
    codes = [{each.code for each in made(row["text"]).warnings} for row in TABLES["written"] if "warns" not in row]
    assert sum("prompt_not_done" in each for each in codes) <= len(codes) // 50


def test_a_misspelt_player_at_a_place_plays_only_there() -> None:
    plan = made("rock, pianno in the intro")
    playing = [any("piano" in layer.instruments for layer in spec.layers) for spec in specs(plan)]
    assert playing[0]
    assert not any(playing[1:])


@pytest.mark.parametrize(
    "step", [8, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["sample", "all"]
)
async def test_a_language_model_changes_no_facts_of_the_prompts(tmp_path: Path, step: int) -> None:
    rows = [{name: fact for name, fact in row.items() if name not in PROPOSED} for row in ROWS[::step]]
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
