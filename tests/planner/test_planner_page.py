"""docs/planning.md agrees with the code: its pictures, settings and warnings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from benchmarks.planner_pictures import PAGE, PICTURE, with_new_plans

from segue_runtime.settings import load

TEXT = PAGE.read_text(encoding="utf-8")
SOURCES = Path(__file__).parents[2] / "services" / "planner" / "segue_planner"

MODELS = Path(__file__).parents[2] / "libs" / "segue_composition" / "section_models.py"
"""Gives the warnings about what models cannot do."""


def test_the_plans_of_the_page_are_those_of_the_planner() -> None:
    assert len(PICTURE.findall(TEXT)) == 4
    assert with_new_plans(TEXT) == TEXT, "python -m benchmarks.planner_pictures updates them"


def test_the_settings_of_the_page_exist(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "segue.toml").write_text(example)
    found = load(environ={"XDG_CONFIG_HOME": str(tmp_path)}, folder=tmp_path).planner
    assert found.backend == "ollama"
    assert set(tomllib.loads(example)["planner"]) == {"backend", "ollama_url", "ollama_model", "time_limit"}


def test_the_page_explains_every_warning_and_no_others() -> None:
    given = {
        code
        for path in SOURCES.rglob("*.py")
        for code in re.findall(r'\.warn(?:_section)?\(\s*"([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    given |= set(re.findall(r'code="([a-z_]+)"', MODELS.read_text(encoding="utf-8")))
    table = TEXT[TEXT.index("## Warnings") :]
    explained = set(re.findall(r"`([a-z_]+)`", table))
    assert given <= explained
    assert {code for code in explained - given if not code.endswith("_contradiction")} == set()


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]:? ?\(?(\.\./[^)\s]+)", TEXT):
        assert (PAGE.parent / target).exists(), target
