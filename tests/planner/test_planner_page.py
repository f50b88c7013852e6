"""docs/planning.md says what is true: its pictures, its settings and its warnings are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from benchmarks.planner_pictures import PAGE, PICTURE, drawn_anew

from segue_runtime.settings import load

TEXT = PAGE.read_text(encoding="utf-8")
SOURCES = Path(__file__).parents[2] / "services" / "planner" / "segue_planner"


def test_three_plans_are_drawn_as_the_planner_makes_them() -> None:
    assert len(PICTURE.findall(TEXT)) == 3
    assert drawn_anew(TEXT) == TEXT, "python -m benchmarks.planner_pictures draws them anew"


def test_the_settings_of_the_page_exist(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "segue.toml").write_text(example)
    found = load(environ={"XDG_CONFIG_HOME": str(tmp_path)}, folder=tmp_path).planner
    assert found.backend == "ollama"
    assert set(tomllib.loads(example)["planner"]) == {"backend", "ollama_url", "ollama_model", "time_limit"}


def test_every_warning_is_explained_and_nothing_else() -> None:
    given = {
        code
        for path in SOURCES.rglob("*.py")
        for code in re.findall(r'\.warn\(\s*"([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    table = TEXT[TEXT.index("## Warnings") :]
    explained = set(re.findall(r"`([a-z_]+)`", table))
    assert given <= explained
    assert {code for code in explained - given if not code.endswith("_contradiction")} == set()


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]:? ?\(?(\.\./[^)\s]+)", TEXT):
        assert (PAGE.parent / target).exists(), target
